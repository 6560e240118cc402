package example;

import aries.marketdata.Control;
import aries.marketdata.Level2;
import aries.marketdata.Quote;
import aries.marketdata.TimeSale;
import aries.marketdata.Trade;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.avro.specific.SpecificRecordBase;

/** Decodes the values of both encodings to the generated classes, whose decimals are BigDecimal and times are Instant. */
final class Values {
    private static final Map<String, Schema> READERS = Map.of(
        "quotes", Quote.getClassSchema(),
        "trades", Trade.getClassSchema(),
        "timesales", TimeSale.getClassSchema(),
        "l2", Level2.getClassSchema(),
        "control", Control.getClassSchema());

    private final Map<String, BinaryMessageDecoder<SpecificRecordBase>> decoders = new HashMap<>();
    private final Map<Integer, Schema> writers = new HashMap<>();
    private final HttpClient http = HttpClient.newHttpClient();
    private final String registry;

    /** The registry's URL with its path (Apicurio: /apis/ccompat/v7), or null if values have fingerprints. */
    Values(String registry) {
        this.registry = registry;
        READERS.forEach((topic, schema) -> decoders.put(topic, decoder(schema)));
    }

    SpecificRecordBase read(String topic, byte[] value) throws IOException, InterruptedException {
        String kind = topic.substring(topic.lastIndexOf('.') + 1);
        if (registry == null) return decoders.get(kind).decode(value);
        ByteBuffer prefix = ByteBuffer.wrap(value);
        if (prefix.get() != 0) throw new IOException("not in Confluent's format: is no registry set on the bridge?");
        Schema writer = writer(prefix.getInt());
        Schema reader = READERS.get(kind);
        // The writer's schema to decode, and this program's as the reader's: later fields are left out.
        return new SpecificDatumReader<SpecificRecordBase>(writer, reader, model(reader))
            .read(null, DecoderFactory.get().binaryDecoder(value, prefix.position(), prefix.remaining(), null));
    }

    private Schema writer(int id) throws IOException, InterruptedException {
        Schema known = writers.get(id);
        if (known != null) return known;
        HttpRequest request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) throw new IOException("schema " + id + ": HTTP " + answer.statusCode());
        Schema schema = new Schema.Parser().parse(new ObjectMapper().readTree(answer.body()).get("schema").asText());
        writers.put(id, schema);
        return schema;
    }

    /** A decoder of a class's values. Call addSchema on it with the schemas of other versions of the bridge. */
    static <T> BinaryMessageDecoder<T> decoder(Schema schema) {
        return new BinaryMessageDecoder<>(model(schema), schema);
    }

    /** The conversions of decimals and times that a generated class brings. */
    static SpecificData model(Schema schema) {
        return SpecificData.getForSchema(schema);
    }
}
