// Runs a script of Flink SQL in a cluster of its own, and prints each row of its queries as Flink shows it.
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

public final class RunSql {
    public static void main(String[] arguments) throws Exception {
        String script = Files.readString(Path.of(arguments[0])).replaceAll("(?m)--.*$", "");
        var tables = TableEnvironment.create(EnvironmentSettings.inBatchMode());
        tables.getConfig().set("parallelism.default", "1");
        for (String statement : script.split(";")) {
            if (statement.isBlank() || statement.strip().startsWith("SET ")) continue;
            var result = tables.executeSql(statement);
            if (statement.strip().startsWith("SELECT ")) {
                try (var rows = result.collect()) {
                    rows.forEachRemaining(row -> System.out.println(row));
                }
            }
        }
        System.exit(0);
    }
}
