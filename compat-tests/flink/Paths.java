// Writes `values.tsv`: each path of `paths.txt` and what Flink's JSON_QUERY finds with it in `document.json`, in a
// wrapper, or `!` where it fails. json-smart must be on the class path: Flink's own distribution lacks it, and then
// filters that ask whether something exists, or that see arrays, fail the job.
//
//     java -cp … Paths FOLDER

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.JsonQueryOnEmptyOrError;
import org.apache.flink.table.api.JsonQueryWrapper;
import org.apache.flink.table.runtime.functions.SqlJsonUtils;
import org.apache.flink.table.runtime.functions.SqlJsonUtils.JsonQueryReturnType;

public final class Paths {
    private Paths() {}

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        String document = Files.readString(folder.resolve("document.json"));
        StringBuilder lines = new StringBuilder();
        for (String path : Files.readAllLines(folder.resolve("paths.txt"))) {
            lines.append(path).append('\t').append(found(document, path)).append('\n');
        }
        Files.writeString(folder.resolve("values.tsv"), lines);
    }

    private static Object found(String document, String path) {
        try {
            return SqlJsonUtils.jsonQuery(document, path, JsonQueryReturnType.STRING, JsonQueryWrapper.UNCONDITIONAL_ARRAY,
                JsonQueryOnEmptyOrError.NULL, JsonQueryOnEmptyOrError.ERROR);
        } catch (RuntimeException refused) {
            return "!";
        }
    }
}
