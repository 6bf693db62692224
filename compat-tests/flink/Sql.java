// Runs a SQL file as it is, with Flink's own connectors, until its jobs end.
//
//     java -cp … Sql FILE

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.UnaryOperator;

public final class Sql {
    public static void main(String[] arguments) throws Exception {
        for (var job : Statements.run(Files.readString(Path.of(arguments[0])), UnaryOperator.identity())) {
            job.await();
        }
        System.out.println("DONE");
        Runtime.getRuntime().halt(0);
    }
}
