/// The frame of these programs: tests one after the other, told as TAP (https://testanything.org).
final class Tap {
    interface Test {
        void run() throws Exception;
    }

    /// Where the tests are told; a tool under test may have the machine's standard output for itself.
    private static final java.io.PrintStream OUT = System.out;
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

    private Tap() {}
}
