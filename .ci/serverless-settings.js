// Checks what neither osls nor CloudFormation can, before anything is deployed: without its file a stage would go back to the
// defaults, dry-run among them; a misspelled name would be ignored; with a reserve that leaves nothing no function
// starts, not even the one for emergencies; with another sweep-every than the schedule's, some values would never be verified.
const { existsSync } = require("fs");

module.exports = async ({ options, resolveVariable }) => {
  const names = ["daily-limit", "reserve", "schedule", "sweep-every"].map((name) => `param:${name}`);
  const [limit, reserve, schedule, every, stage, settings, known] = await Promise.all(
    [...names, "sls:stage", "self:custom.stage, null", "self:params.default"].map(resolveVariable),
  );
  const file = `stage.${stage}.yml`;
  const refuse = (message) => {
    const error = new Error(message);
    error.stack = message; // the stack would not help a reader
    throw error;
  };
  if (!existsSync(file)) {
    refuse(`${file} does not exist: it contains the settings of the stage ${stage}. Copy it from your team's configuration; for a new stage create it as in docs/deploy.md`);
  }
  const given = [].concat(options.param || []).map((text) => text.split("=")[0]).filter((name) => !(name in known));
  if (given.length) {
    refuse(`--param: unknown settings: ${given.join(", ")}; serverless.yml lists the valid ones under params`);
  }
  const entries = Object.entries(settings || {});
  const unknown = entries.map(([name]) => name).filter((name) => !(name in known));
  if (unknown.length) {
    refuse(`${file} contains unknown settings: ${unknown.join(", ")}; serverless.yml lists the valid ones under params`);
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
