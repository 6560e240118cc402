// What kafkajs and avsc need for the bridge's values: zstd, logical types, and the schemas by fingerprint.
import fs from "node:fs";
import path from "node:path";
import avro from "avsc";
import { decompress } from "fzstd";
import kafkajs from "kafkajs";

// kafkajs has no zstd, the bridge's default (KAFKA_COMPRESSION): without this it stops with "ZSTD compression not implemented".
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  decompress: async (bytes) => Buffer.from(decompress(bytes)),
  compress: () => { throw new Error("this program only reads"); },
});

// A decimal as text with all its digits: a Number has only 15 that are exact.
class Decimal extends avro.types.LogicalType {
  constructor(schema, options) {
    super(schema, options);
    this.scale = schema.scale;
  }

  _fromValue(bytes) {
    const unscaled = BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString("hex") || "0"}`));
    const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(this.scale + 1, "0");
    return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -this.scale)}.${digits.slice(-this.scale)}`;
  }
}

class Millis extends avro.types.LogicalType {
  _fromValue(milliseconds) {
    return new Date(milliseconds);
  }
}

const logicalTypes = { decimal: Decimal, "timestamp-millis": Millis };

// CRC-64-AVRO as in the Avro specification; avsc's own fingerprints are other hashes.
const EMPTY = 0xc15d213aa4d7a795n;
const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let remainder = BigInt(byte);
  for (let bit = 0; bit < 8; bit += 1) remainder = (remainder >> 1n) ^ (remainder & 1n ? EMPTY : 0n);
  return remainder;
});

function fingerprint(canonical) {
  let remainder = EMPTY;
  for (const byte of Buffer.from(canonical)) remainder = (remainder >> 8n) ^ TABLE[Number((remainder ^ BigInt(byte)) & 0xffn)];
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(remainder);
  return bytes.toString("hex");
}

// Return the files of the newest schemas in a directory, and of those of earlier releases.
function schemaFiles(directory) {
  const releases = path.join(directory, "released");
  const folders = fs.existsSync(releases) ? fs.readdirSync(releases).map((name) => path.join(releases, name)) : [];
  return [...folders.filter((folder) => fs.statSync(folder).isDirectory()), directory]
    .flatMap((folder) => fs.readdirSync(folder).map((name) => path.join(folder, name)))
    .filter((file) => file.endsWith(".avsc"));
}

// Return a function that decodes values in single-object encoding with the schemas of a directory.
export function decoder(directory) {
  const types = new Map();
  for (const file of schemaFiles(directory)) {
    const schema = JSON.parse(fs.readFileSync(file, "utf8"));
    const canonical = JSON.stringify(avro.Type.forSchema(schema).schema());
    types.set(fingerprint(canonical), avro.Type.forSchema(schema, { logicalTypes }));
  }
  return (value) => {
    if (value.subarray(0, 2).toString("hex") !== "c301") {
      throw new Error("the value is not in single-object encoding: is a registry set on the bridge?");
    }
    const id = value.subarray(2, 10).toString("hex");
    const type = types.get(id);
    if (!type) throw new Error(`no schema has the fingerprint ${id}: get the newer schemas`);
    return type.fromBuffer(value.subarray(10));
  };
}
