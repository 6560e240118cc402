package example;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A plain consumer: BOOTSTRAP_SERVERS TOPIC_PREFIX [REGISTRY_URL]. */
public final class ReadTopics {
    private static final List<String> TOPICS = List.of("quotes", "trades", "timesales", "l2", "control");

    private ReadTopics() { }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2)
            throw new IllegalArgumentException("usage: ReadTopics BOOTSTRAP_SERVERS TOPIC_PREFIX [REGISTRY_URL]");
        var values = new Values(arguments.length > 2 ? arguments[2] : null);
        var market = new MarketState();
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0]);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            // No group: the state is in memory, so that each start reads from the beginning.
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : TOPICS)
                for (var partition : consumer.partitionsFor(arguments[1] + "." + topic))
                    partitions.add(new TopicPartition(partition.topic(), partition.partition()));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (true) {
                for (var message : consumer.poll(Duration.ofSeconds(1))) {
                    var line = market.apply(message.topic(), message.key(), values.read(message.topic(), message.value()));
                    if (line != null) Json.print(line);
                }
            }
        }
    }
}
