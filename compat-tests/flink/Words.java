// Writes `words.tsv`: the words of Flink's own parser, and whether each is reserved or free to be a name.
//
//     java -cp … Words FOLDER

import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.TreeMap;
import org.apache.calcite.sql.parser.SqlAbstractParserImpl.Metadata;
import org.apache.flink.sql.parser.impl.FlinkSqlParserImpl;

public final class Words {
    private Words() {}

    public static void main(String[] arguments) throws Exception {
        Metadata parser = FlinkSqlParserImpl.FACTORY.getParser(new StringReader("")).getMetadata();
        TreeMap<String, String> words = new TreeMap<>();
        for (String token : parser.getTokens()) {
            if (parser.isKeyword(token) || parser.isReservedWord(token)) {
                words.put(token, parser.isReservedWord(token) ? "reserved" : "free");
            }
        }
        StringBuilder lines = new StringBuilder();
        words.forEach((word, kind) -> lines.append(word).append('\t').append(kind).append('\n'));
        Files.writeString(Path.of(arguments[0]).resolve("words.tsv"), lines);
        System.out.println(words.size() + " words");
    }
}
