/** To be imported for its effect: codecs and the fast CRC-32C, in a process or a worker thread. */
import { installNodeAccelerators } from "./node.ts";

installNodeAccelerators();
