// All tables and plots of the documents anew, from what the last runs left in bench/results. Measures nothing.

import type { ClientResults } from "./lib/client_report.ts";
import {
  documentClients,
  documentMatrix,
  documentNodes,
  documentReplication,
  documentScale,
  type NodeResults,
  readResults,
} from "./lib/documents.ts";
import type { Results } from "./lib/report.ts";
import type { ScaleResults } from "./lib/scale_report.ts";

render<NodeResults>("latest", documentNodes);
render<ClientResults>("clients", documentClients);
render<ClientResults>("matrix", documentMatrix);
render<Results>("replication", documentReplication);
render<ScaleResults>("scale", documentScale);

function render<T>(name: string, document: (results: T) => void): void {
  const results = readResults<T>(name);
  if (results === null) console.log(`No bench/results/${name}.json: its section stays as it is`);
  else document(results);
}
