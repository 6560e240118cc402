package example;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.ser.std.ToStringSerializerBase;
import java.math.BigDecimal;

/** Prints lines of JSON; decimals are texts with all their digits. */
final class Json {
    private static final ObjectMapper MAPPER = new ObjectMapper().registerModule(
        new SimpleModule().addSerializer(BigDecimal.class, new ToStringSerializerBase(BigDecimal.class) {
            @Override public String valueToString(Object decimal) {
                return ((BigDecimal) decimal).toPlainString();
            }
        }));

    private Json() { }

    static void print(Object line) {
        try {
            System.out.println(MAPPER.writeValueAsString(line));
        } catch (JsonProcessingException error) {
            throw new IllegalArgumentException(error);
        }
    }
}
