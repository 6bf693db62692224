import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/// The frame of these programs: tests one after the other, told as TAP (https://testanything.org).
final class Tap {
    interface Test {
        void run() throws Exception;
    }

    /// Where the tests are told; a tool under test may have the machine's standard output for itself.
    private static final PrintStream OUT = System.out;
    private static int number;

    static void test(String name, Test test) {
        number++;
        try {
            test.run();
            OUT.println("ok " + number + " - " + name);
        } catch (Throwable failure) {
            OUT.println("not ok " + number + " - " + name);
            failure.printStackTrace();
        }
    }

    /// How many there were, at the end.
    static void done() {
        OUT.println("1.." + number);
    }

    static void expect(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    static void expectLine(String pattern, String said) {
        if (!Pattern.compile(pattern, Pattern.MULTILINE).matcher(said).find()) {
            throw new AssertionError("no line like " + pattern + " in\n" + said);
        }
    }

    /** What one of Kafka's tools prints, its columns one space apart. */
    static String printed(Consumer<String[]> tool, String servers, String... arguments) {
        List<String> all = new ArrayList<>(List.of("--bootstrap-server", servers));
        all.addAll(List.of(arguments));
        PrintStream out = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setOut(new PrintStream(said));
        try {
            tool.accept(all.toArray(String[]::new));
        } finally {
            System.setOut(out);
        }
        return said.toString().replaceAll("[ \t]+", " ");
    }

    private Tap() {}
}
