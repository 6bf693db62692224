// Reads and writes the lines of `cases.tsv` with the csv format that Flink's Kafka connector uses and writes `values.tsv`
// beside it: options, columns, the message; then the row that Flink makes of it, `-` for none or `!` for an error, and
// what Flink writes of that row.
//
//     java -cp … Csv FOLDER

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.formats.csv.CsvRowDataDeserializationSchema;
import org.apache.flink.formats.csv.CsvRowDataSerializationSchema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.conversion.DataStructureConverters;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.table.types.utils.TypeConversions;

public final class Csv {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        List<String> values = new ArrayList<>();
        for (String line : Files.readAllLines(folder.resolve("cases.tsv"))) {
            String[] fields = line.split("\t", -1);
            values.add(line + "\t" + outcome(options(fields[0]), fields[1], JSON.readValue(fields[2], String.class)));
        }
        Files.write(folder.resolve("values.tsv"), values);
    }

    /** `key=value` one behind the other, with a JSON text for each value. */
    private static Map<String, String> options(String field) throws Exception {
        Map<String, String> options = new LinkedHashMap<>();
        JSON.readTree(field).fields().forEachRemaining(option -> options.put(option.getKey(), option.getValue().asText()));
        return options;
    }

    private static String outcome(Map<String, String> options, String columns, String message) throws Exception {
        var type = (RowType) LogicalTypeParser.parse("ROW<" + columns + ">", Csv.class.getClassLoader());
        RowData row;
        try {
            DeserializationSchema<RowData> reader = reader(options, type);
            reader.open(null);
            row = reader.deserialize(message.getBytes(StandardCharsets.UTF_8));
        } catch (Throwable refused) {
            return "!\t";
        }
        if (row == null) {
            return "-\t";
        }
        var converter = DataStructureConverters.getConverter(TypeConversions.fromLogicalToDataType(type));
        converter.open(Csv.class.getClassLoader());
        String shown = JSON.writeValueAsString(String.valueOf(converter.toExternal(row)));
        try {
            SerializationSchema<RowData> writer = writer(options, type);
            writer.open(null);
            return shown + "\t" + JSON.writeValueAsString(new String(writer.serialize(row), StandardCharsets.UTF_8));
        } catch (Throwable refused) {
            return shown + "\t!";
        }
    }

    private static DeserializationSchema<RowData> reader(Map<String, String> options, RowType type) {
        var builder = new CsvRowDataDeserializationSchema.Builder(type, InternalTypeInfo.of(type));
        options.forEach((key, value) -> {
            switch (key) {
                case "csv.field-delimiter" -> builder.setFieldDelimiter(value.charAt(0));
                case "csv.allow-comments" -> builder.setAllowComments(Boolean.parseBoolean(value));
                case "csv.ignore-parse-errors" -> builder.setIgnoreParseErrors(Boolean.parseBoolean(value));
                case "csv.array-element-delimiter" -> builder.setArrayElementDelimiter(value);
                case "csv.quote-character" -> builder.setQuoteCharacter(value.charAt(0));
                case "csv.disable-quote-character" -> builder.disableQuoteCharacter();
                case "csv.escape-character" -> builder.setEscapeCharacter(value.charAt(0));
                case "csv.null-literal" -> builder.setNullLiteral(value);
                case "csv.write-bigdecimal-in-scientific-notation" -> { }
                default -> throw new IllegalArgumentException(key);
            }
        });
        return builder.build();
    }

    private static SerializationSchema<RowData> writer(Map<String, String> options, RowType type) {
        var builder = new CsvRowDataSerializationSchema.Builder(type);
        // The default of the option.
        builder.setWriteBigDecimalInScientificNotation(true);
        options.forEach((key, value) -> {
            switch (key) {
                case "csv.field-delimiter" -> builder.setFieldDelimiter(value.charAt(0));
                case "csv.array-element-delimiter" -> builder.setArrayElementDelimiter(value);
                case "csv.quote-character" -> builder.setQuoteCharacter(value.charAt(0));
                case "csv.disable-quote-character" -> builder.disableQuoteCharacter();
                case "csv.escape-character" -> builder.setEscapeCharacter(value.charAt(0));
                case "csv.null-literal" -> builder.setNullLiteral(value);
                case "csv.write-bigdecimal-in-scientific-notation" ->
                    builder.setWriteBigDecimalInScientificNotation(Boolean.parseBoolean(value));
                default -> { }
            }
        });
        return builder.build();
    }
}
