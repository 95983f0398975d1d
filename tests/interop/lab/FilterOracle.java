// Apache's own filter, asked from outside: expressions and properties in, what its parser and its evaluation say out.
//
//   java -cp 'JARS/*' FilterOracle.java ask IN OUT      lines `E expression` and `P name value name value ...`, texts as
//                                                       hex of UTF-16; answers one line each: ok | error, and
//                                                       TRUE | FALSE | NULL | ERROR | - (of an expression that is none)
//   java -cp 'JARS/*' FilterOracle.java write OUT       consumerFilter.json of two groups, as the broker writes it
//   java -cp 'JARS/*' FilterOracle.java read IN         reads such a file; prints `topic group expression dead` lines

import java.io.BufferedWriter;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.rocketmq.broker.filter.ConsumerFilterData;
import org.apache.rocketmq.broker.filter.ConsumerFilterManager;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.parser.SelectorParser;
import org.apache.rocketmq.filter.util.BloomFilter;
import org.apache.rocketmq.remoting.protocol.heartbeat.SubscriptionData;

public class FilterOracle {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "ask":
                ask(Path.of(args[1]), Path.of(args[2]));
                break;
            case "write":
                write(Path.of(args[1]));
                break;
            case "read":
                read(Path.of(args[1]));
                break;
            default:
                throw new IllegalArgumentException(args[0]);
        }
        System.exit(0);
    }

    private static void ask(Path in, Path out) throws Exception {
        try (BufferedWriter answers = Files.newBufferedWriter(out, StandardCharsets.US_ASCII)) {
            Expression expression = null;
            for (String line : Files.readAllLines(in, StandardCharsets.US_ASCII)) {
                String[] parts = line.split(" ", -1);
                if (parts[0].equals("E")) {
                    expression = compile(text(parts[1]));
                    answers.write(expression == null ? "error\n" : "ok\n");
                    continue;
                }
                Map<String, String> properties = new HashMap<>();
                for (int i = 1; i + 1 < parts.length; i += 2) {
                    properties.put(text(parts[i]), text(parts[i + 1]));
                }
                answers.write(evaluate(expression, properties) + "\n");
            }
        }
    }

    private static Expression compile(String text) {
        try {
            return SelectorParser.parse(text);
        } catch (Throwable e) {
            return null;
        }
    }

    private static String evaluate(Expression expression, Map<String, String> properties) {
        if (expression == null) {
            return "-";
        }
        try {
            Object value = expression.evaluate(new MessageEvaluationContext(properties));
            return value == null ? "NULL" : value instanceof Boolean ? value.toString().toUpperCase() : "OTHER";
        } catch (Throwable e) {
            return "ERROR";
        }
    }

    private static String text(String hex) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < hex.length(); i += 4) {
            text.append((char) Integer.parseInt(hex.substring(i, i + 4), 16));
        }
        return text.toString();
    }

    private static ConsumerFilterManager manager() throws Exception {
        ConsumerFilterManager manager = new ConsumerFilterManager();
        // What the broker's defaults make; the constructor for tests has other numbers.
        Field field = ConsumerFilterManager.class.getDeclaredField("bloomFilter");
        field.setAccessible(true);
        field.set(manager, BloomFilter.createByFn(20, 32));
        return manager;
    }

    private static void write(Path out) throws Exception {
        ConsumerFilterManager manager = manager();
        SubscriptionData data = new SubscriptionData();
        data.setTopic("T");
        data.setSubString("a > 5 AND b = 'it''s'");
        data.setExpressionType("SQL92");
        data.setSubVersion(1700000000000L);
        manager.register("CG", List.of(data));
        manager.register("group_a", List.of(data));
        manager.unRegister("group_a");
        Files.writeString(out, manager.encode(true));
    }

    private static void read(Path in) throws Exception {
        ConsumerFilterManager manager = manager();
        manager.decode(Files.readString(in));
        TreeSet<String> lines = new TreeSet<>();
        for (ConsumerFilterManager.FilterDataMapByTopic byGroup : manager.getFilterDataByTopic().values()) {
            for (ConsumerFilterData data : byGroup.getGroupFilterData().values()) {
                lines.add(data.getTopic() + " " + data.getConsumerGroup() + " " + data.getExpression() + " " + data.isDead());
            }
        }
        lines.forEach(System.out::println);
    }
}
