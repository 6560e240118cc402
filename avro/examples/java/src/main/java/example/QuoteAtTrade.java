package example;

import aries.marketdata.Quote;
import aries.marketdata.Trade;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.avro.specific.SpecificRecordBase;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;

/**
 * Kafka Streams without a registry: each trade with the newest quote before it. BOOTSTRAP_SERVERS TOPIC_PREFIX STATE_DIRECTORY.
 *
 * <p>The bridge's topics are co-partitioned: the same keys, the same partitioner, and the same number of partitions if
 * they were created with the same number. So nothing is repartitioned.
 */
public final class QuoteAtTrade {
    private QuoteAtTrade() { }

    public static void main(String[] arguments) {
        if (arguments.length != 3)
            throw new IllegalArgumentException("usage: QuoteAtTrade BOOTSTRAP_SERVERS TOPIC_PREFIX STATE_DIRECTORY");
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("application.id", arguments[1] + "-quote-at-trade");
        settings.put("auto.offset.reset", "earliest");
        settings.put("state.dir", arguments[2]);
        // Records are joined in the order of Kafka's timestamps: wait so long for the other topic before going on without it.
        settings.put("max.task.idle.ms", "2000");
        var streams = new KafkaStreams(topology(arguments[1]), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    static Topology topology(String prefix) {
        var builder = new StreamsBuilder();
        Serde<Quote> quotes = serde(Quote.getClassSchema());
        Serde<Trade> trades = serde(Trade.getClassSchema());
        KTable<String, Quote> newest = builder
            .stream(prefix + ".quotes", Consumed.with(Serdes.String(), quotes))
            .groupByKey(Grouped.with(Serdes.String(), quotes))
            .aggregate(() -> null, (symbol, quote, known) -> next(known, quote), Materialized.with(Serdes.String(), quotes));
        builder
            .stream(prefix + ".trades", Consumed.with(Serdes.String(), trades))
            .leftJoin(newest, QuoteAtTrade::shown, Joined.with(Serdes.String(), trades, quotes))
            .foreach((symbol, line) -> Json.print(line));
        return builder.build();
    }

    private static Quote next(Quote known, Quote quote) {
        boolean isRepeat = known != null && (quote.getSessionId() < known.getSessionId()
            || quote.getSessionId() == known.getSessionId() && quote.getSeq() <= known.getSeq());
        return isRepeat ? known : MarketState.merged(known, quote);
    }

    private static Map<String, Object> shown(Trade trade, Quote quote) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("key", trade.getSymbol());
        line.put("last_price", trade.getLastPrice());
        line.put("size", trade.getSize());
        line.put("bid", quote == null ? null : Arrays.asList(quote.getBidPrice(), quote.getBidSize()));
        line.put("ask", quote == null ? null : Arrays.asList(quote.getAskPrice(), quote.getAskSize()));
        return line;
    }

    private static <T extends SpecificRecordBase> Serde<T> serde(Schema schema) {
        BinaryMessageDecoder<T> decoder = Values.decoder(schema);
        var encoder = new BinaryMessageEncoder<T>(Values.model(schema), schema);
        return Serdes.serdeFrom(
            (topic, record) -> record == null ? null : unchecked(() -> encoder.encode(record).array()),
            (topic, value) -> value == null ? null : unchecked(() -> decoder.decode(value)));
    }

    private interface Work<T> {
        T run() throws IOException;
    }

    private static <T> T unchecked(Work<T> work) {
        try {
            return work.run();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
