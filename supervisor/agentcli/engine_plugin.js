// The engine's own hooks, passed on to the town. A tool is not called unless the
// town answers; nothing else waits for it. What an agent's words or the end of its
// turn are, the engine tells after the fact, so that neither can be held up here.
import { spawn } from "node:child_process"

function ask(call) {
  return new Promise((resolve, reject) => {
    const child = spawn(hook[0], hook.slice(1), { stdio: ["pipe", "pipe", "pipe"] })
    let out = ""
    let err = ""
    child.stdout.on("data", (p) => (out += p))
    child.stderr.on("data", (p) => (err = (err + p).slice(-1000)))
    child.stdin.on("error", () => {}) // it may end unread
    child.on("error", reject)
    child.on("close", (code) => {
      if (code !== 0) return reject(new Error(err.trim() || `it ended with ${code}`))
      try {
        resolve(JSON.parse(out))
      } catch {
        reject(new Error("it answered no JSON"))
      }
    })
    child.stdin.end(JSON.stringify(call))
  })
}

const tell = (call) => ask(call).catch(() => {})

export const townd = async () => {
  const children = new Set() // sessions of subagents, whose end is not the turn's
  let text = ""
  return {
    "chat.message": async (_, { parts }) => {
      const prompt = parts.filter((p) => p.type === "text").map((p) => p.text)
      await tell({ hook: "chat.message", text: prompt.join("\n") })
    },
    "tool.execute.before": async ({ tool, callID }, { args }) => {
      let answer
      try {
        answer = await ask({ hook: "tool.execute.before", tool, callID, args })
      } catch (e) {
        throw new Error(`The tool was not called, because the town could not be asked: ${e.message}`)
      }
      if (answer.deny) throw new Error(answer.reason || "The town denies this.")
    },
    "tool.execute.after": async ({ tool, callID, args }, result) => {
      const output = typeof result?.output === "string" ? result.output : JSON.stringify(result?.content)
      await tell({ hook: "tool.execute.after", tool, callID, args, output })
    },
    event: async ({ event: { type, properties } }) => {
      const session = properties?.sessionID
      if (type === "session.created" && properties.info?.parentID) children.add(properties.info.id)
      if (children.has(session)) return
      if (type === "message.part.updated" && properties.part.type === "text" && properties.part.time?.end) text = properties.part.text
      if (type === "session.error" && properties.error?.name !== "MessageAbortedError") {
        await tell({ hook: "session.error", text: properties.error?.data?.message ?? properties.error?.name })
      }
      if (type === "session.idle") await tell({ hook: "session.idle", text })
    },
  }
}
