// Apache's example programs, unmodified, side by side in one JVM: each in a thread group of its own, by which its lines are
// told apart, `[quickstart.Producer] line`. Producers run to their end, one after another, then the consumers, which have
// no end, until a file appears.
//
//   java -Drocketmq.namesrv.addr=... ExampleRunner STOP_FILE PRODUCER,... CONSUMER,...      names below org.apache.rocketmq.example
//
// A name may bring arguments: `benchmark.Producer:-t:Topic:-w:8`.

import java.io.File;
import java.io.OutputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

public class ExampleRunner {
    static final long PRODUCERS_LIMIT_MS = 30_000;
    static final PrintStream CONSOLE = System.out;
    static final Map<String, StringBuilder> LINES = new ConcurrentHashMap<>();

    public static void main(String[] args) throws Exception {
        System.setOut(new PrintStream(new ByGroup(), true));
        warmUp();
        // One after another: most give up at the first send that takes 3 s, on a busy machine too.
        for (String name : args[1].split(",")) {
            // The transactions' one sleeps for days when it is done.
            for (Thread thread : start(name)) if (!name.startsWith("transaction.")) thread.join(PRODUCERS_LIMIT_MS);
        }
        start(args[2]);
        while (!new File(args[0]).exists()) Thread.sleep(50);
        Runtime.getRuntime().halt(0);
    }

    /** The first send loads classes, here and in the broker, for longer than the examples wait. */
    static void warmUp() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("G_warm_up");
        producer.start();
        for (int sent = 0; sent < 20;) {
            try {
                producer.send(new Message("WarmUp", new byte[100]));
                sent++;
            } catch (Exception e) {
                Thread.sleep(200);
            }
        }
        producer.shutdown();
    }

    static List<Thread> start(String names) {
        List<Thread> threads = new ArrayList<>();
        for (String name : names.split(",")) {
            if (name.isEmpty()) continue;
            String[] words = name.split(":");
            Thread thread = new Thread(new ThreadGroup(words[0]), () -> {
                try {
                    Class<?> type = Class.forName("org.apache.rocketmq.example." + words[0]);
                    type.getMethod("main", String[].class).invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
                    System.out.println("ENDED");
                } catch (Throwable e) {
                    System.out.println("FAILED " + (e.getCause() == null ? e : e.getCause()));
                }
            }, words[0]);
            thread.start();
            threads.add(thread);
        }
        return threads;
    }

    /** Lines of the example whose thread prints; its threads are in its group, or in one below. */
    static final class ByGroup extends OutputStream {
        @Override
        public void write(int b) {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int from, int length) {
            String name = "";
            for (ThreadGroup group = Thread.currentThread().getThreadGroup(); group != null; group = group.getParent()) {
                if (group.getName().contains(".")) name = group.getName();
            }
            // Pieces of a line come from one thread, one after another.
            StringBuilder line = LINES.computeIfAbsent(name + Thread.currentThread().getId(), key -> new StringBuilder());
            synchronized (line) {
                for (char c : new String(bytes, from, length).toCharArray()) {
                    if (c != '\n') line.append(c);
                    else {
                        CONSOLE.println("[" + name + "] " + line);
                        line.setLength(0);
                    }
                }
            }
        }
    }
}
