// Reads the stream as the SDK is used, and prints what `Reading` in read.rs expects.
import { createOpencodeClient } from "@opencode-ai/sdk/client"

const client = createOpencodeClient({ baseUrl: process.argv.at(-1) })
const before = process.cpuUsage()
const { stream } = await client.global.event({ sseMaxRetryAttempts: 1 })
let events = 0
let last
for await (const event of stream) {
  last = event
  events += 1
}
const { user, system } = process.cpuUsage(before)
if (typeof last?.payload?.type !== "string") throw new Error("the last event is none")
console.log(JSON.stringify({ events, cpu_ns: (user + system) * 1000 }))
