// The views: their addresses, names, and what draws each.

import type { FunctionComponent } from "preact";
import { Clients } from "./views/clients";
import { Failures } from "./views/failures";
import { Functions } from "./views/functions";
import { Hosts } from "./views/hosts";
import { Objects } from "./views/objects";
import { Overview } from "./views/overview";
import { Progress } from "./views/progress";
import { Settings } from "./views/settings";
import { Stream } from "./views/stream";
import { TaskLog } from "./views/tasks";
import { Task } from "./views/task";
import { Worker } from "./views/worker";
import { Workers } from "./views/workers";

export interface View {
  name: string;
  title: string;
  show: FunctionComponent;
  key?: string; // its key on the keyboard, if it is in the menu
}

export const VIEWS: View[] = [
  { name: "overview", title: "Overview", show: Overview, key: "1" },
  { name: "workers", title: "Workers", show: Workers, key: "2" },
  { name: "stream", title: "Task stream", show: Stream, key: "3" },
  { name: "tasks", title: "Task log", show: TaskLog, key: "4" },
  { name: "failures", title: "Failures", show: Failures, key: "5" },
  { name: "functions", title: "Functions", show: Functions, key: "6" },
  { name: "progress", title: "Progress", show: Progress, key: "7" },
  { name: "objects", title: "Objects", show: Objects, key: "8" },
  { name: "clients", title: "Clients", show: Clients, key: "9" },
  { name: "hosts", title: "Hosts", show: Hosts, key: "0" },
  { name: "settings", title: "Settings", show: Settings, key: "," },
  { name: "worker", title: "Worker", show: Worker },
  { name: "task", title: "Task", show: Task },
];
