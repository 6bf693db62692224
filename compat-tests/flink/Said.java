// What the statements of each text of a folder say (DESCRIBE, SHOW), as Flink prints it, beside the text: `like.sql` ->
// `like.golden`. Nothing is waited for: no job of these texts says anything.
//
//     java -cp … Said FOLDER

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.table.api.TableResult;

public final class Said {
    private static final PrintStream OUT = System.out;

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]).toAbsolutePath();
        List<Path> texts;
        try (var files = Files.list(folder)) {
            texts = files.filter(file -> file.toString().endsWith(".sql")).sorted().toList();
        }
        int failed = 0;
        for (Path text : texts) {
            String name = text.getFileName().toString().replace(".sql", "");
            try {
                Files.writeString(folder.resolve(name + ".golden"), said(Files.readString(text)));
                OUT.println("ok " + name);
            } catch (Throwable refused) {
                OUT.println("not ok " + name + ": " + refused);
                failed++;
            }
        }
        Runtime.getRuntime().halt(failed == 0 ? 0 : 1);
    }

    private static String said(String text) {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            var tables = Statements.tables();
            for (String statement : Statements.of(text)) {
                TableResult result = tables.executeSql(statement);
                if (statement.startsWith("DESC") || statement.startsWith("SHOW")) {
                    result.print();
                }
            }
        } finally {
            System.setOut(OUT);
        }
        return printed.toString(StandardCharsets.UTF_8);
    }
}
