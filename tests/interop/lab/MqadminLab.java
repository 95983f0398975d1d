// Many mqadmin commands in one JVM: a line of tab-separated words on standard input is a command, its output comes back
// between two marks. Words that begin with @ are the lab's own: a producer and consumers with fixed names, so that the
// commands that show clients have some to show.
//
//   in:   id \t milliseconds it may take \t command \t argument ...
//   out:  \u0001BEGIN id \n output \u0001END id milliseconds ok|timeout \n

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.Permission;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.command.MQAdminStartup;
import org.apache.rocketmq.tools.command.SubCommand;

public class MqadminLab {
    static final PrintStream OUT = System.out;
    static final Map<String, DefaultMQPushConsumer> CONSUMERS = new HashMap<>();
    static final Map<String, AtomicInteger> CONSUMED = new HashMap<>();
    static DefaultMQProducer producer;

    public static void main(String[] args) throws Exception {
        final String namesrv = args[0];
        forbidExit();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split("\t", -1);
            answer(words[0], namesrv, Arrays.copyOfRange(words, 2, words.length), Long.parseLong(words[1]));
        }
        Runtime.getRuntime().halt(0);
    }

    static void answer(String id, String namesrv, String[] words, long limitMs) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream captured = new PrintStream(bytes, true, "UTF-8");
        System.setOut(captured);
        System.setErr(captured);
        long begin = System.nanoTime();
        Thread thread = new Thread(() -> {
            try {
                if (words[0].startsWith("@")) own(namesrv, words);
                else MQAdminStartup.main0(words, null);
            } catch (ExitException e) {
                System.out.println("exit " + e.getMessage());
            } catch (Throwable e) {
                e.printStackTrace(System.out);
            }
        }, "command " + id);
        thread.setDaemon(true);
        thread.start();
        thread.join(limitMs);
        boolean timedOut = thread.isAlive();
        if (timedOut) {
            thread.interrupt();
            thread.join(20_000);
        }
        captured.flush();
        String text = bytes.toString("UTF-8");
        System.setOut(OUT);
        OUT.println("\u0001BEGIN " + id);
        OUT.print(text);
        if (!text.endsWith("\n")) OUT.println();
        OUT.println("\u0001END " + id + " " + (System.nanoTime() - begin) / 1_000_000 + " " + (timedOut ? "timeout" : "ok"));
        OUT.flush();
    }

    static void own(String namesrv, String[] words) throws Exception {
        switch (words[0]) {
            case "@send": send(namesrv, words[1], Integer.parseInt(words[2])); break;
            case "@consume": consume(namesrv, words[1], words[2]); break;
            case "@await": await(words[1], Integer.parseInt(words[2])); break;
            case "@stop": CONSUMERS.remove(words[1]).shutdown(); break;
            case "@commands": commands(); break;
            default: throw new IllegalArgumentException(words[0]);
        }
    }

    static void send(String namesrv, String topic, int count) throws Exception {
        if (producer == null) {
            producer = new DefaultMQProducer("lab_producer");
            producer.setNamesrvAddr(namesrv);
            producer.setInstanceName("lab");
            producer.setClientIP("127.0.0.1");
            producer.setSendMsgTimeout(10_000);
            producer.start();
        }
        for (int i = 0; i < count; i++) {
            Message message = new Message(topic, i % 2 == 0 ? "TagA" : "TagB", "key" + i, ("body " + i).getBytes(StandardCharsets.UTF_8));
            final int at = i;
            SendResult result = producer.send(message, (List<MessageQueue> queues, Message m, Object arg) -> queues.get(at % queues.size()), null);
            System.out.println(result.getMsgId() + " " + result.getOffsetMsgId() + " " + result.getMessageQueue().getQueueId()
                + " " + result.getQueueOffset() + " " + result.getSendStatus());
        }
    }

    static void consume(String namesrv, String group, String topic) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName("lab");
        consumer.setClientIP("127.0.0.1");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        AtomicInteger count = new AtomicInteger();
        CONSUMED.put(group, count);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            count.addAndGet(messages.size());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        CONSUMERS.put(group, consumer);
    }

    static void await(String group, int count) throws Exception {
        while (CONSUMED.get(group).get() < count) Thread.sleep(20);
        OffsetStore offsets = CONSUMERS.get(group).getDefaultMQPushConsumerImpl().getOffsetStore();
        // A queue's offset moves only once the listener has returned.
        while (offsets.cloneOffsetTable(null).values().stream().mapToLong(Long::longValue).sum() < count) Thread.sleep(20);
        // The client itself tells the broker every 10 s, and one-way; this one is answered.
        for (Map.Entry<MessageQueue, Long> entry : offsets.cloneOffsetTable(null).entrySet()) {
            offsets.updateConsumeOffsetToBroker(entry.getKey(), entry.getValue(), false);
        }
    }

    /** Names of every command there is. */
    static void commands() throws Exception {
        MQAdminStartup.initCommand();
        java.lang.reflect.Field field = MQAdminStartup.class.getDeclaredField("SUB_COMMANDS");
        field.setAccessible(true);
        java.util.TreeSet<String> names = new java.util.TreeSet<>();
        for (Object command : (List<?>) field.get(null)) names.add(((SubCommand) command).commandName());
        for (String name : names) System.out.println(name);
    }

    static class ExitException extends SecurityException {
        ExitException(String message) {
            super(message);
        }
    }

    /** Commands end the process when their arguments are wrong. */
    @SuppressWarnings("removal")
    static void forbidExit() {
        System.setSecurityManager(new SecurityManager() {
            @Override
            public void checkExit(int status) {
                throw new ExitException(String.valueOf(status));
            }

            @Override
            public void checkPermission(Permission permission) {
            }

            @Override
            public void checkPermission(Permission permission, Object context) {
            }
        });
    }
}
