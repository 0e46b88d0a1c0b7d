export { Stream } from "../stream/stream";
