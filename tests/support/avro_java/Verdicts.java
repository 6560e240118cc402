import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaNormalization;

/** For each line "reader TAB writer": whether the reader can read what the writer writes, and the writer's fingerprint. */
public class Verdicts {
  public static void main(String[] arguments) throws Exception {
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] schemas = line.split("\t");
      Schema reader = new Schema.Parser().parse(schemas[0]);
      Schema writer = new Schema.Parser().parse(schemas[1]);
      var verdict = SchemaCompatibility.checkReaderWriterCompatibility(reader, writer).getType();
      System.out.println(verdict + "\t" + SchemaNormalization.parsingFingerprint64(writer));
    }
  }
}
