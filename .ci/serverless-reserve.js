// The param `reserve`, where the stage's settings make sense. A misspelled name in stage.<stage>.yml would be ignored, and with a
// reserve that leaves nothing every function refuses to start, the one for emergencies too; CloudFormation can check
// neither, so it is done before anything is deployed.
module.exports = async ({ resolveVariable }) => {
  const [limit, reserve, stage, known] = await Promise.all(
    ["param:daily-limit", "param:reserve", "self:custom.stage, null", "self:params.default"].map(resolveVariable),
  );
  const unknown = Object.keys(stage || {}).filter((name) => !(name in known));
  if (unknown.length) {
    throw new Error(`stage.<stage>.yml holds ${unknown.join(", ")}: no such setting; serverless.yml lists them under params`);
  }
  if (!(Number(reserve) < Number(limit))) {
    throw new Error(`reserve must be less than daily-limit: ${reserve} of ${limit} leaves nothing for scheduled rotations`);
  }
  return reserve;
};
