// Checks what neither osls nor CloudFormation can, before anything is deployed: without its file a stage would go back to the
// defaults, dry-run among them; a misspelled name would be ignored; with a reserve that leaves nothing no function
// starts, not even the one for emergencies; with another sweep-every than the schedule's, some values would never be verified.
// What CloudFormation would refuse only after the upload (dry-run: "yes"), and a package that is not there, are refused here, too.
// Returns the parts of stores, which CloudFormation can't take apart.
const { existsSync } = require("fs");

module.exports = async ({ options, resolveVariable }) => {
  const names = ["daily-limit", "reserve", "schedule", "sweep-every", "stores"].map((name) => `param:${name}`);
  const [limit, reserve, schedule, every, stores, region, stage, settings, known, artifact] = await Promise.all(
    [...names, "opt:region, param:region", "sls:stage", "self:custom.stage, null", "self:params.default", "param:package"].map(resolveVariable),
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
  for (const name of Object.keys(known)) {
    const parameter = name.replace(/(?:^|-)(.)/g, (_, letter) => letter.toUpperCase());
    const variables = [`param:${name}`, `self:resources.Parameters.${parameter}.AllowedValues, null`];
    const [value, values] = await Promise.all(variables.map(resolveVariable));
    if (values && !values.includes(String(value))) {
      refuse(`${name}: "${value}" is not valid; use one of ${values.join(", ")}`);
    }
  }
  if (process.argv.some((word) => word === "deploy" || word === "package") && !artifact.includes("://") && !existsSync(artifact)) {
    refuse(`package: ${artifact} does not exist; run \`make package\`, or set package to a release's zip (docs/deploy.md)`);
  }
  if (!(Number(reserve) < Number(limit))) {
    refuse(`reserve must be less than daily-limit: ${reserve} of ${limit} leaves nothing for scheduled rotations`);
  }
  const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(schedule);
  const interval = rate && (rate[2] === "day" ? "1d" : `${rate[1]}${rate[2][0]}`);
  if (interval && interval !== every) {
    refuse(`sweep-every must be the interval of the schedule: set sweep-every: ${interval} for ${schedule}, not ${every}`);
  }
  const all = stores.split(" ").filter(Boolean);
  const regions = all.filter((store) => !store.startsWith("arn:"));
  const roles = all.filter((store) => store.startsWith("arn:"));
  const accounts = roles.map((role) => role.split(":")[4]);
  if (all.length && all[0] !== region) {
    refuse(`stores must start with the region of this deployment, which contains the management secrets: ${region}, not ${all[0]}`);
  }
  const places = [...regions, ...roles.map((role, index) => `${accounts[index]} ${role.split("@").pop()}`)];
  if (new Set(places).size < places.length) {
    refuse("stores must contain each AWS account and region once");
  }
  const joined = (texts) => [...new Set(texts)].join(",");
  return { regions: joined(regions), roles: joined(roles.map((role) => role.replace(/@[^@]*$/, ""))), accounts: joined(accounts) };
};
