// Reads {"folder": where the parser is installed, "queries": [...]} and writes what the parser finds wrong with each query,
// against the two tables of Application Insights that the queries ask: learn.microsoft.com, "Application Insights telemetry
// data model".
const { createRequire } = require("node:module");
const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const load = createRequire(asked.folder + "/package.json");
load("@kusto/language-service-next/bridge.min.js");
load("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { Symbols, GlobalState, KustoCode } = Kusto.Language;
const table = (name, columns) => new Symbols.TableSymbol.$ctor7(name, columns, null);
const common = "timestamp:datetime, customDimensions:dynamic, cloud_RoleName:string, cloud_RoleInstance:string";
const database = new Symbols.DatabaseSymbol.ctor("application-insights", [
  table(
    "customMetrics",
    `(${common}, name:string, value:real, valueCount:int, valueSum:real, valueMin:real, valueMax:real)`,
  ),
  table("traces", `(${common}, message:string, severityLevel:int)`),
]);
const known = GlobalState.Default.WithDatabase(database);
const faults = asked.queries.map((query) => {
  const found = KustoCode.ParseAndAnalyze(query, known).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index).Message);
});
process.stdout.write(JSON.stringify(faults));
