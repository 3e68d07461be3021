// The param `reserve`, where it is less than `daily-limit`. With a reserve that leaves nothing every function refuses to
// start, the one for emergencies too; CloudFormation can't compare two numbers, so it is done before anything is deployed.
module.exports = async ({ resolveVariable }) => {
  const [limit, reserve] = await Promise.all(["param:daily-limit", "param:reserve"].map(resolveVariable));
  if (!(Number(reserve) < Number(limit))) {
    throw new Error(`reserve must be less than daily-limit: ${reserve} of ${limit} leaves nothing for scheduled rotations`);
  }
  return reserve;
};
