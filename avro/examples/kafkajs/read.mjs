// Read the topics with kafkajs and avsc, without a registry.
//
// node read.mjs BOOTSTRAP_SERVERS TOPIC_PREFIX SCHEMAS (the directory of the .avsc files)
import kafkajs from "kafkajs";
import { MarketState } from "./state.mjs";
import { decoder } from "./types.mjs";

const [bootstrapServers, prefix, directory] = process.argv.slice(2);
if (!directory) {
  console.error("usage: node read.mjs BOOTSTRAP_SERVERS TOPIC_PREFIX SCHEMAS");
  process.exit(2);
}
const decode = decoder(directory);
const market = new MarketState();
const kafka = new kafkajs.Kafka({ brokers: bootstrapServers.split(","), logLevel: kafkajs.logLevel.WARN });
// kafkajs always needs a group; a new one at each start reads from the beginning, as the state is in memory.
const consumer = kafka.consumer({ groupId: `${prefix}-kafkajs-${Date.now()}` });
await consumer.connect();
const topics = ["quotes", "trades", "timesales", "l2", "control"].map((topic) => `${prefix}.${topic}`);
await consumer.subscribe({ topics, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ topic, message }) => {
    const line = market.apply(topic, message.key.toString(), decode(message.value));
    if (line) console.log(JSON.stringify(line));
  },
});
