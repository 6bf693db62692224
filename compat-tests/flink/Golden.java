// Runs the queries of a folder on a local Flink (parallelism 1, UTC) and writes what is left of each one's result,
// sorted, beside it: `q5.sql` -> `q5.golden`. What the tables read from Kafka comes from the file `<topic>.jsonl`, so
// that nothing of Warren is in it. Of files that a query writes below the folder `out` the lines are rows too. Of a query
// whose table has a PRIMARY KEY the rows are written as they came: that is what such a key is about.
//
//     java -cp … Golden FOLDER… [--only NAME]

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.table.api.TableResult;

public final class Golden {
    private static final PrintStream OUT = System.out;

    public static void main(String[] arguments) throws Exception {
        List<Path> folders = new ArrayList<>();
        String only = null;
        for (int i = 0; i < arguments.length; i++) {
            if (arguments[i].equals("--only")) {
                only = arguments[++i];
            } else {
                folders.add(Path.of(arguments[i]).toAbsolutePath());
            }
        }
        int failed = 0;
        for (Path folder : folders) {
            List<Path> queries;
            try (var files = Files.list(folder)) {
                queries = files.filter(file -> file.toString().endsWith(".sql") && !file.endsWith("tables.sql")).sorted().toList();
            }
            for (Path query : queries) {
                String name = query.getFileName().toString().replace(".sql", "");
                if (only != null && !only.equals(name)) {
                    continue;
                }
                try {
                    List<String> rows = run(folder, Files.readString(folder.resolve("tables.sql")) + Files.readString(query));
                    Files.writeString(folder.resolve(name + ".golden"), String.join("\n", rows) + (rows.isEmpty() ? "" : "\n"));
                    OUT.println("ok " + name + ": " + rows.size() + " rows");
                } catch (Throwable refused) {
                    Throwable cause = refused;
                    while (cause.getCause() != null) {
                        cause = cause.getCause();
                    }
                    OUT.println("not ok " + name + ": " + cause);
                    failed++;
                }
            }
        }
        Runtime.getRuntime().halt(failed == 0 ? 0 : 1);
    }

    private static List<String> run(Path folder, String text) throws Exception {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        Path out = Files.createTempDirectory("golden");
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            for (TableResult job : Statements.run(text, statement -> fromFiles(folder, statement).replace("'path' = 'out'", "'path' = 'file://" + out + "'"))) {
                job.await();
            }
        } finally {
            System.setOut(OUT);
        }
        String lines = printed.toString(StandardCharsets.UTF_8);
        if (text.contains("PRIMARY KEY")) {
            return lines.lines().toList();
        }
        List<String> rows = left(lines);
        rows.addAll(inFiles(out));
        rows.sort(null);
        return rows;
    }

    /** The lines of the files, with the folders they are in; of files without any their names. */
    private static List<String> inFiles(Path out) throws IOException {
        List<String> rows = new ArrayList<>();
        List<Path> files;
        try (var found = Files.walk(out)) {
            files = found.filter(Files::isRegularFile).toList();
        }
        for (Path file : files) {
            String folder = out.relativize(file.getParent()).toString();
            if (!file.getFileName().toString().startsWith("part-")) {
                rows.add(folder + "/" + file.getFileName());
                continue;
            }
            for (String line : Files.readAllLines(file)) {
                rows.add(folder + ": " + line);
            }
        }
        return rows;
    }

    /** The same table over a file, when it reads from Kafka. */
    private static String fromFiles(Path folder, String statement) {
        Matcher topic = Pattern.compile("'topic'\\s*=\\s*'([^']*)'").matcher(statement);
        if (!statement.startsWith("CREATE") || !statement.contains("'kafka'") || !topic.find()) {
            return statement;
        }
        String options = "WITH ('connector' = 'filesystem', 'path' = 'file://" + folder.resolve(topic.group(1) + ".jsonl") + "', 'format' = 'json')";
        return statement.replaceAll("(?s)WITH\\s*\\(\\s*'connector'.*", Matcher.quoteReplacement(options));
    }

    /**
     * The rows that are still there once every change has been made, sorted. Where Flink leaves out what it takes back
     * (+U without -U), the first column is the key.
     */
    private static List<String> left(String printed) {
        boolean byKey = printed.contains("\n+U[") && !printed.contains("\n-U[");
        Map<String, Integer> rows = new TreeMap<>();
        Map<String, String> last = new TreeMap<>();
        for (String line : printed.split("\n")) {
            if (line.isEmpty()) {
                continue;
            }
            boolean more = line.startsWith("+I") || line.startsWith("+U");
            if (!more && !line.startsWith("-U") && !line.startsWith("-D")) {
                throw new IllegalStateException("no change: " + line);
            }
            String row = line.substring(2);
            String before = byKey && more ? last.put(row.split(",")[0], row) : null;
            if (before != null) {
                rows.merge(before, -1, Integer::sum);
            }
            rows.merge(row, more ? 1 : -1, Integer::sum);
        }
        List<String> left = new ArrayList<>();
        rows.forEach((row, count) -> {
            for (int i = 0; i < count; i++) {
                left.add(row);
            }
        });
        return left;
    }
}
