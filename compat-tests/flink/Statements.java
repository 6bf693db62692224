// A SQL text as Flink's client reads it: statements one after the other, SET among them.

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

final class Statements {
    private static final Pattern SET = Pattern.compile("SET '([^']*)' = '([^']*)'");

    private Statements() {}

    /** Runs them at parallelism 1 in UTC, each changed as asked; the jobs that they started. */
    static List<TableResult> run(String text, UnaryOperator<String> changed) {
        var tables = tables();
        List<TableResult> jobs = new ArrayList<>();
        for (String statement : of(text)) {
            if (statement.startsWith("SET ")) {
                Matcher set = SET.matcher(statement);
                if (!set.matches()) {
                    throw new IllegalArgumentException(statement);
                }
                tables.getConfig().set(set.group(1), set.group(2));
                continue;
            }
            TableResult result = tables.executeSql(changed.apply(statement));
            if (statement.startsWith("INSERT") || statement.startsWith("EXECUTE")) {
                jobs.add(result);
            }
        }
        return jobs;
    }

    /** An environment in which nothing has been made. */
    static StreamTableEnvironment tables() {
        Configuration configuration = new Configuration();
        configuration.setString("execution.runtime-mode", "STREAMING");
        configuration.setString("table.local-time-zone", "UTC");
        return StreamTableEnvironment.create(StreamExecutionEnvironment.createLocalEnvironment(1, configuration));
    }

    /** A line's last character ends a statement; a statement set goes to its END. */
    static List<String> of(String text) {
        List<String> statements = new ArrayList<>();
        StringBuilder current = new StringBuilder();
        for (String line : text.split("\n")) {
            if (line.startsWith("--")) {
                continue;
            }
            current.append(line).append('\n');
            boolean inSet = current.indexOf("EXECUTE STATEMENT SET") == 0 && !line.equals("END;");
            if (line.endsWith(";") && !inSet) {
                String statement = current.toString().strip();
                statements.add(statement.substring(0, statement.length() - 1));
                current.setLength(0);
            }
        }
        return statements;
    }
}
