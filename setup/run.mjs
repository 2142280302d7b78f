/**
 * The entry point of every npm script: checks Node's version, then hands over to `commands.mjs`.
 * Written for the oldest Node that can parse it, so that an old one prints a sentence and not a syntax error.
 */
var version = process.versions.node;
if (Number(version.split(".")[0]) < 20) {
  process.stderr.write(
    "E_NODE_OLD  This is Node " +
      version +
      "; Continuo needs Node 20 or later to install itself (it brings Node 24).\n" +
      "  Fix: install Node 24 from https://nodejs.org and run this again.\n",
  );
  process.exit(1);
}
void import("./commands.mjs").then(function (commands) {
  return commands.runCommand(process.argv[2], process.argv.slice(3));
});
