// Runs a SQL file with bounded sources on a local Flink at parallelism 1, several times in one machine, and prints for
// each what it took: seconds, the process's CPU time in microseconds. Without a number it runs it once, to no end.
//
//     java -cp … Bench FILE [ROUNDS]

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.UnaryOperator;

public final class Bench {
    public static void main(String[] arguments) throws Exception {
        String text = Files.readString(Path.of(arguments[0]));
        int rounds = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 1;
        var process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        for (int round = 0; round < rounds; round++) {
            long began = System.nanoTime(), cpu = process.getProcessCpuTime();
            for (var job : Statements.run(text, UnaryOperator.identity())) {
                job.await();
            }
            long ns = System.nanoTime() - began, cpuNs = process.getProcessCpuTime() - cpu;
            String rss = Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith("VmRSS:")).findFirst().orElse("VmRSS: 0 kB").split("\\s+")[1];
            System.out.printf("%.3f %d %s%n", ns / 1e9, cpuNs / 1000, rss);
        }
        Runtime.getRuntime().halt(0);
    }
}
