package example;

import aries.marketdata.BookLevel;
import aries.marketdata.ExchangeQuote;
import aries.marketdata.Level2;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import org.apache.avro.specific.SpecificRecordBase;

/** The state of each symbol, by the rules of the contract (avro/README.md). */
final class MarketState {
    private static final Map<String, List<String>> SHOWN = Map.of(
        "quotes", List.of("bid_price", "bid_size", "bid_exchange", "ask_price", "ask_size", "ask_exchange"),
        "trades", List.of("last_price", "size", "net_change"),
        "timesales", List.of("price", "size", "trade_exchange"),
        "control", List.of("kind"));

    /** Relative to the message before, so never to be kept (net_change of a trade is another thing). */
    private static final Set<String> CHANGES = Set.of("bid_change", "bid_size_change", "ask_change", "ask_size_change");

    private record Position(long session, long seq) { }

    private final Map<String, Position> newest = new HashMap<>();
    private final Map<String, SpecificRecordBase> states = new HashMap<>();
    private final Map<String, Map<BigDecimal, BookLevel>> books = new HashMap<>();
    private final Map<String, Map<String, ExchangeQuote>> exchanges = new HashMap<>();

    /** Returns what to print of the state after a record; null for a repeat, or a record of an older session. */
    Map<String, Object> apply(String topic, String key, SpecificRecordBase record) {
        String kind = topic.substring(topic.lastIndexOf('.') + 1);
        String id = topic + "/" + key;
        Map<String, Object> line = new LinkedHashMap<>(Map.of("topic", topic, "key", key));
        if (!kind.equals("control")) {
            Position now = new Position((long) record.get("session_id"), (long) record.get("seq"));
            if (isRepeat(newest.get(id), now)) return null;
            newest.put(id, now);
        }
        if (record instanceof Level2 level2) {
            var book = rows(books.getOrDefault(id, Map.of()), level2, "book", level2.getBook(), BookLevel::getPrice,
                row -> isNone(row.getBidSize()) && isNone(row.getAskSize()));
            var quotes = rows(exchanges.getOrDefault(id, Map.of()), level2, "quotes", level2.getQuotes(),
                ExchangeQuote::getExchange, row -> isNone(row.getBidSize()) && isNone(row.getAskSize()));
            books.put(id, book);
            exchanges.put(id, quotes);
            line.put("book", shown(book, row -> Arrays.asList(row.getBidSize(), row.getAskSize())));
            line.put("quotes", shown(quotes, row ->
                Arrays.asList(row.getBidPrice(), row.getBidSize(), row.getAskPrice(), row.getAskSize())));
            return line;
        }
        SpecificRecordBase state = record;
        if (kind.equals("quotes") || kind.equals("trades")) {
            state = merged(states.get(id), record);
            states.put(id, state);
        }
        for (String name : SHOWN.get(kind)) line.put(name, state.get(name));
        if (kind.equals("quotes")) line.put("cleared", record.get("cleared"));
        return line;
    }

    private static boolean isRepeat(Position last, Position now) {
        if (last == null || now.session > last.session) return false;
        return now.session < last.session || now.seq <= last.seq;
    }

    /** Returns the state from quotes, trades or greeks after one more record, which keeps what the record does not have. */
    @SuppressWarnings("unchecked")
    static <T extends SpecificRecordBase> T merged(T known, T record) {
        if (known == null || (boolean) record.get("after_gap")) return record;
        var cleared = (List<String>) record.get("cleared");
        T state = (T) record.getSpecificData().deepCopy(record.getSchema(), record);
        for (var field : record.getSchema().getFields()) {
            boolean isMissing = record.get(field.pos()) == null && !cleared.contains(field.name());
            if (isMissing && !CHANGES.contains(field.name())) state.put(field.pos(), known.get(field.pos()));
        }
        return state;
    }

    private static <K, V> Map<K, V> rows(
        Map<K, V> known, Level2 record, String part, List<V> sent, Function<V, K> key, Predicate<V> isGone) {
        if (record.getCleared().contains(part)) return Map.of();
        if (sent.isEmpty()) return record.getAfterGap() ? Map.of() : known;
        boolean isChange = Boolean.FALSE.equals(record.getIsFull());
        Map<K, V> rows = isChange && !record.getAfterGap() ? new LinkedHashMap<>(known) : new LinkedHashMap<>();
        for (V row : sent) rows.put(key.apply(row), row);
        if (isChange) rows.values().removeIf(isGone);
        return rows;
    }

    private static boolean isNone(Long size) {
        return size == null || size == 0;
    }

    private static <K, V> Map<String, Object> shown(Map<K, V> rows, Function<V, List<?>> columns) {
        Map<String, Object> shown = new LinkedHashMap<>();
        rows.forEach((at, row) ->
            shown.put(at instanceof BigDecimal price ? price.toPlainString() : at.toString(), columns.apply(row)));
        return shown;
    }
}
