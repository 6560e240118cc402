// The state of each symbol, by the rules of the contract (avro/README.md).

const SHOWN = {
  quotes: ["bid_price", "bid_size", "bid_exchange", "ask_price", "ask_size", "ask_exchange"],
  trades: ["last_price", "size", "net_change"],
  timesales: ["price", "size", "trade_exchange"],
  control: ["kind"],
};

// Relative to the message before, so never to be kept (net_change of a trade is another thing).
const CHANGES = new Set(["bid_change", "bid_size_change", "ask_change", "ask_size_change"]);

export class MarketState {
  #newest = new Map();
  #states = new Map();

  // Return what to print of the state after a record; null for a repeat, or a record of an older session.
  apply(topic, key, record) {
    const kind = topic.slice(topic.lastIndexOf(".") + 1);
    const id = `${topic}/${key}`;
    if (kind !== "control" && this.#isRepeat(id, record)) return null;
    let state = record;
    if (kind === "l2") state = level2(this.#states.get(id), record);
    else if (kind === "quotes" || kind === "trades") state = merged(this.#states.get(id), record);
    this.#states.set(id, state);
    if (kind === "l2") return { topic, key, ...shownRows(state) };
    const fields = Object.fromEntries(SHOWN[kind].map((name) => [name, state[name] ?? null]));
    return kind === "quotes" ? { topic, key, ...fields, cleared: record.cleared } : { topic, key, ...fields };
  }

  #isRepeat(id, record) {
    const last = this.#newest.get(id);
    const isSameSession = last?.session_id === record.session_id;
    if (last && (record.session_id < last.session_id || (isSameSession && record.seq <= last.seq))) return true;
    this.#newest.set(id, record);
    return false;
  }
}

function merged(known, record) {
  const state = record.after_gap ? {} : { ...known };
  for (const [name, value] of Object.entries(record)) {
    if (value !== null && !CHANGES.has(name)) state[name] = value;
  }
  for (const name of record.cleared) state[name] = null;
  return state;
}

function level2(known, record) {
  const before = record.after_gap || !known ? { book: new Map(), quotes: new Map() } : known;
  return { book: rows(before.book, record, "book", "price"), quotes: rows(before.quotes, record, "quotes", "exchange") };
}

function rows(known, record, part, key) {
  if (record.cleared.includes(part)) return new Map();
  const sent = new Map(record[part].map((row) => [row[key], row]));
  if (sent.size > 0 && record.is_full !== false) return sent;
  return new Map([...new Map([...known, ...sent])].filter(([, row]) => row.bid_size || row.ask_size));
}

function shownRows(state) {
  const book = [...state.book].map(([price, row]) => [price, [row.bid_size, row.ask_size]]);
  const columns = (row) => [row.bid_price, row.bid_size, row.ask_price, row.ask_size];
  const quotes = [...state.quotes].map(([exchange, row]) => [exchange, columns(row)]);
  return { book: Object.fromEntries(book), quotes: Object.fromEntries(quotes) };
}
