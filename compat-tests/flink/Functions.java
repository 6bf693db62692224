// Evaluates the lines of `expressions.txt` on Flink and writes `values.tsv` beside it: the expression, its type, its
// value as Flink casts it to text, or `!` and why Flink refuses it.
//
// One small cluster does it all. Many expressions are the columns of one query; where one of them fails the rest, the
// query is halved until it stands alone.
//
//     java -cp … Functions FOLDER

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.FutureTask;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;

public final class Functions {
    /** Columns of one query. */
    private static final int TOGETHER = 48;

    private final StreamTableEnvironment tables;
    /** What is behind the expression in its line. */
    private final Map<String, String> results = new LinkedHashMap<>();

    private Functions(StreamTableEnvironment tables) {
        this.tables = tables;
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        Configuration configuration = new Configuration();
        configuration.setString("execution.runtime-mode", "STREAMING");
        configuration.setString("table.local-time-zone", "UTC");
        configuration.setString("rest.port", "0");
        var cluster = new MiniCluster(new MiniClusterConfiguration.Builder().setConfiguration(configuration).setNumSlotsPerTaskManager(2).build());
        cluster.start();
        var door = cluster.getRestAddress().get();
        List<String> expressions = Files.readAllLines(folder.resolve("expressions.txt")).stream()
            .filter(line -> !line.isBlank() && !line.startsWith("# ")).toList();
        // Planning is most of the work, and a planner belongs to its thread.
        int half = expressions.size() / 2;
        List<FutureTask<Map<String, String>>> parts = new ArrayList<>();
        for (List<String> part : List.of(expressions.subList(0, half), expressions.subList(half, expressions.size()))) {
            parts.add(new FutureTask<>(() -> {
                var environment = StreamExecutionEnvironment.createRemoteEnvironment(door.getHost(), door.getPort(), configuration);
                environment.setParallelism(1);
                return new Functions(StreamTableEnvironment.create(environment)).all(part);
            }));
            new Thread(parts.get(parts.size() - 1)).start();
        }
        StringBuilder lines = new StringBuilder();
        for (FutureTask<Map<String, String>> part : parts) {
            part.get().forEach((expression, result) -> lines.append(expression).append('\t').append(result).append('\n'));
        }
        Files.writeString(folder.resolve("values.tsv"), lines);
        System.out.println(expressions.size() + " expressions");
        Runtime.getRuntime().halt(0);
    }

    private Map<String, String> all(List<String> expressions) {
        List<String> valid = expressions.stream().filter(this::hasType).toList();
        for (int i = 0; i < valid.size(); i += TOGETHER) {
            evaluate(valid.subList(i, Math.min(i + TOGETHER, valid.size())));
        }
        return results;
    }

    private boolean hasType(String expression) {
        try {
            var schema = tables.sqlQuery("SELECT " + expression).getResolvedSchema();
            results.put(expression, schema.getColumnDataTypes().get(0).getLogicalType().asSerializableString());
            return true;
        } catch (Throwable refused) {
            results.put(expression, why(refused));
            return false;
        }
    }

    private void evaluate(List<String> expressions) {
        List<String> inner = new ArrayList<>();
        List<String> outer = new ArrayList<>();
        for (int i = 0; i < expressions.size(); i++) {
            inner.add(expressions.get(i) + " AS v" + i);
            // As text by Flink's own cast.
            outer.add("CAST(v" + i + " AS STRING)");
        }
        String query = "SELECT " + String.join(", ", outer) + " FROM (SELECT " + String.join(", ", inner) + ")";
        try (var rows = tables.executeSql(query).collect()) {
            Row row = rows.next();
            for (int i = 0; i < expressions.size(); i++) {
                Object text = row.getField(i);
                results.merge(expressions.get(i), text == null ? "null" : escaped(text.toString()), (type, value) -> type + "\t" + value);
            }
        } catch (Throwable refused) {
            if (expressions.size() == 1) {
                results.put(expressions.get(0), why(refused));
                return;
            }
            int half = expressions.size() / 2;
            evaluate(expressions.subList(0, half));
            evaluate(expressions.subList(half, expressions.size()));
        }
    }

    /** A result is one line of characters that can be seen. */
    private static String escaped(String text) {
        StringBuilder escaped = new StringBuilder();
        text.chars().forEach(c -> escaped.append(c < ' ' ? String.format("\\u%04x", c) : String.valueOf((char) c)));
        return escaped.toString();
    }

    private static String why(Throwable refused) {
        Throwable cause = refused;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return "!\t" + escaped(String.valueOf(cause.getMessage()).split("\n")[0]);
    }
}
