// Evaluates each line of `expressions.txt` on Flink and writes `values.tsv` beside it: the expression, its type, its
// value as Flink prints it, or `!` and why Flink refuses it.
//
//     java -cp … Functions FOLDER

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

public final class Functions {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        Configuration configuration = new Configuration();
        configuration.setString("execution.runtime-mode", "STREAMING");
        configuration.setString("table.local-time-zone", "UTC");
        var tables = StreamTableEnvironment.create(StreamExecutionEnvironment.createLocalEnvironment(1, configuration));
        List<String> lines = new ArrayList<>();
        for (String expression : Files.readAllLines(folder.resolve("expressions.txt"))) {
            if (expression.isBlank() || expression.startsWith("#")) {
                continue;
            }
            lines.add(expression + "\t" + value(tables, expression));
            System.out.println(lines.get(lines.size() - 1));
        }
        Files.writeString(folder.resolve("values.tsv"), String.join("\n", lines) + "\n");
        Runtime.getRuntime().halt(0);
    }

    private static String value(StreamTableEnvironment tables, String expression) {
        try {
            String type = tables.sqlQuery("SELECT " + expression).getResolvedSchema().getColumnDataTypes().get(0).getLogicalType().asSerializableString();
            // As text by Flink's own cast, which is what the print connector shows.
            TableResult result = tables.executeSql("SELECT CAST(v AS STRING) FROM (SELECT " + expression + " AS v)");
            try (var rows = result.collect()) {
                Object text = rows.next().getField(0);
                return type + "\t" + (text == null ? "null" : text.toString());
            }
        } catch (Throwable refused) {
            Throwable cause = refused;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            return "!\t" + String.valueOf(cause.getMessage()).split("\n")[0];
        }
    }
}
