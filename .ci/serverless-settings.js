// Checks what neither osls nor CloudFormation can, before anything is deployed: without its file a stage would go back to the
// defaults, dry-run among them; a misspelled name would be ignored; with a reserve that leaves nothing every function refuses
// to start, the one for emergencies too; with another sweep-every than the schedule's, some values would never be verified.
const { existsSync } = require("fs");

module.exports = async ({ resolveVariable }) => {
  const names = ["daily-limit", "reserve", "schedule", "sweep-every"].map((name) => `param:${name}`);
  const [limit, reserve, schedule, every, stage, settings, known] = await Promise.all(
    [...names, "sls:stage", "self:custom.stage, null", "self:params.default"].map(resolveVariable),
  );
  const file = `stage.${stage}.yml`;
  const refuse = (message) => {
    const error = new Error(message);
    error.stack = message; // the place in this file says nothing to a reader
    throw error;
  };
  if (!existsSync(file)) {
    refuse(`${file} is not here: it holds the settings of the stage ${stage}. Get it from where your team keeps it; for a new stage write it, see docs/deploy.md`);
  }
  const entries = Object.entries(settings || {});
  const unknown = entries.map(([name]) => name).filter((name) => !(name in known));
  if (unknown.length) {
    refuse(`${file} holds ${unknown.join(", ")}: no such setting; serverless.yml lists them under params`);
  }
  const bare = entries.filter(([, value]) => typeof value === "boolean").map(([name, value]) => `${name}: "${value}"`);
  if (bare.length) {
    refuse(`${file}: true and false need quotes: ${bare.join(", ")}`);
  }
  if (!(Number(reserve) < Number(limit))) {
    refuse(`reserve must be less than daily-limit: ${reserve} of ${limit} leaves nothing for scheduled rotations`);
  }
  const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(schedule);
  const interval = rate && (rate[2] === "day" ? "1d" : `${rate[1]}${rate[2][0]}`);
  if (interval && interval !== every) {
    refuse(`sweep-every must be the interval of the schedule: set sweep-every: ${interval} for ${schedule}, not ${every}`);
  }
  return file;
};
