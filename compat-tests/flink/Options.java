// Writes `options.tsv`: the options that Flink's connectors know, as they tell of them when they are given one that they
// do not know. Those of the formats are listed with every connector that may have the format.
//
//     java -cp … Options FOLDER

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

public final class Options {
    private static final String TOPIC = "'topic' = 'x', 'properties.bootstrap.servers' = 'x', ";
    private static final List<String> FORMATS = List.of("csv", "json", "raw");

    private Options() {}

    public static void main(String[] arguments) throws Exception {
        var tables = StreamTableEnvironment.create(StreamExecutionEnvironment.createLocalEnvironment(1));
        Map<String, TreeSet<String>> options = new TreeMap<>();
        for (String format : FORMATS) {
            String key = "'key.format' = 'raw', 'value.format' = '" + format + "'";
            read(tables, options, "filesystem", "", "'path' = '/x', 'format' = '" + format + "'");
            read(tables, options, "kafka", "", TOPIC + "'format' = '" + format + "'");
            read(tables, options, "upsert-kafka", ", PRIMARY KEY (k) NOT ENFORCED", TOPIC + key);
        }
        // A file's format says nothing of its options.
        options.get("kafka").stream().filter(Options::ofFormat).forEach(options.get("filesystem")::add);
        StringBuilder lines = new StringBuilder();
        options.forEach((connector, keys) -> keys.forEach(key -> lines.append(connector).append('\t').append(key).append('\n')));
        Files.writeString(Path.of(arguments[0]).resolve("options.tsv"), lines);
        System.out.println(options.values().stream().mapToInt(TreeSet::size).sum() + " options");
    }

    private static boolean ofFormat(String key) {
        return FORMATS.stream().anyMatch(format -> key.startsWith(format + "."));
    }

    private static void read(StreamTableEnvironment tables, Map<String, TreeSet<String>> into, String connector, String more, String given) {
        tables.executeSql("CREATE TEMPORARY TABLE x (k STRING" + more + ") WITH ('connector' = '" + connector + "', " + given + ", 'nonsense' = '1')");
        String known = "";
        try {
            tables.explainSql("SELECT * FROM x");
        } catch (Throwable refused) {
            Throwable cause = refused;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            known = cause.getMessage().split("Supported options:")[1];
        }
        tables.executeSql("DROP TEMPORARY TABLE x");
        for (String option : known.strip().split("\\s+")) {
            // Of the raw format of the key nothing is asked.
            if (!option.equals("connector") && !option.startsWith("key.raw.")) {
                String plain = option.startsWith("value.") && ofFormat(option.substring(6)) ? option.substring(6) : option;
                into.computeIfAbsent(connector, none -> new TreeSet<>()).add(plain);
            }
        }
    }
}
