// The real Java client as the interop tests drive it: `produce` sends messages of many shapes and writes one line per
// acknowledged message, `consume` reads every queue of a topic from its first offset and writes one line per message.
// Both print what they saw; all judging is done by the tests.

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Random;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

public class LabClient {
    public static void main(String[] args) {
        try {
            run(args);
            System.exit(0);
        } catch (Throwable e) {
            // The client's own threads would keep the process alive.
            e.printStackTrace();
            System.exit(1);
        }
    }

    static void run(String[] args) throws Exception {
        switch (args[0]) {
            case "produce": produce(args[1], args[2], args[3], Long.parseLong(args[4]), args[5], args[6], Integer.parseInt(args[7])); break;
            case "consume": consume(args[1], args[2], args[3], args.length > 4 ? Long.parseLong(args[4]) : 0); break;
            default: throw new IllegalArgumentException(args[0]);
        }
    }

    static long crc(byte[] body) {
        CRC32 crc = new CRC32();
        crc.update(body);
        return crc.getValue();
    }

    static byte[] body(Random random, int size) {
        byte[] body = new byte[size];
        random.nextBytes(body);
        return body;
    }

    // namesrv topic outFile totalBytes shape tagPrefix threads. shape: "mixed", "small" or "until" (until killed or the file STOP appears)
    static void produce(String namesrv, String topic, String out, long totalBytes, String shape, String prefix, int threads) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("lab_producer_" + prefix);
        producer.setNamesrvAddr(namesrv);
        producer.setMaxMessageSize(4 * 1024 * 1024);
        producer.setCompressMsgBodyOverHowmuch(shape.equals("mixed") ? 64 * 1024 : Integer.MAX_VALUE);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setSendMsgTimeout(10000);
        producer.setVipChannelEnabled(false);
        producer.start();
        // A topic just made reaches the NameServer with the broker's next registration.
        for (int attempt = 0; ; attempt++) {
            try { if (!producer.fetchPublishMessageQueues(topic).isEmpty()) break; } catch (Exception e) { if (attempt > 120) throw e; }
            Thread.sleep(250);
        }
        try (PrintWriter writer = new PrintWriter(out, "UTF-8")) {
            List<Thread> workers = new ArrayList<>();
            java.util.concurrent.atomic.AtomicLong sent = new java.util.concurrent.atomic.AtomicLong();
            for (int t = 0; t < threads; t++) {
                final int worker = t;
                Thread thread = new Thread(() -> work(producer, topic, writer, totalBytes, shape, prefix, worker, sent, out));
                thread.start();
                workers.add(thread);
            }
            for (Thread thread : workers) thread.join();
        }
        producer.shutdown();
    }

    static void work(DefaultMQProducer producer, String topic, PrintWriter writer, long totalBytes, String shape, String prefix,
                     int worker, java.util.concurrent.atomic.AtomicLong sent, String out) {
        Random random = new Random(42 + worker);
        for (int i = 0; sent.get() < totalBytes && !new java.io.File(out + ".stop").exists(); i++) {
            try {
                if (shape.equals("mixed") && i % 50 == 7) {
                    List<Message> batch = new ArrayList<>();
                    for (int j = 0; j < 1 + random.nextInt(32); j++) batch.add(message(topic, prefix, worker, i, j, body(random, 1 + random.nextInt(3000))));
                    SendResult result = producer.send((Collection<Message>) batch);
                    long bytes = 0;
                    for (Message message : batch) bytes += message.getBody().length;
                    sent.addAndGet(bytes);
                    for (Message message : batch) line(writer, result, message);
                    continue;
                }
                int size = shape.equals("mixed")
                    ? (i % 97 == 13 ? 4 * 1024 * 1024 - 64 * random.nextInt(100) : i % 11 == 3 ? 20000 + random.nextInt(200000) : 1 + random.nextInt(4000))
                    : shape.equals("small") ? 1 + random.nextInt(2048) : 1024;
                Message message = message(topic, prefix, worker, i, 0, body(random, size));
                SendResult result = producer.send(message);
                sent.addAndGet(size);
                line(writer, result, message);
            } catch (Exception e) {
                synchronized (writer) { writer.println("ERROR " + e.getClass().getSimpleName()); writer.flush(); }
                if (shape.equals("until")) try { Thread.sleep(50); } catch (InterruptedException ignored) { return; }
            }
        }
    }

    static Message message(String topic, String prefix, int worker, int i, int j, byte[] body) {
        Message message = new Message(topic, "Tag" + (i % 7), prefix + "-" + worker + "-" + i + "-" + j + " shared" + (i % 13), body);
        message.putUserProperty("lab", prefix + worker + "\u00e9" + i);
        return message;
    }

    static void line(PrintWriter writer, SendResult result, Message message) {
        synchronized (writer) {
            writer.println(result.getSendStatus() + " " + message.getKeys().split(" ")[0] + " " + crc(message.getBody()) + " " + message.getBody().length);
            writer.flush();
        }
    }

    // namesrv topic outFile [minimum count to wait for]
    static void consume(String namesrv, String topic, String out, long wanted) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("lab_consumer");
        consumer.setNamesrvAddr(namesrv);
        consumer.start();
        long count = 0;
        try (PrintWriter writer = new PrintWriter(out, "UTF-8")) {
            java.util.Set<MessageQueue> queues = null;
            for (int attempt = 0; queues == null || queues.isEmpty(); attempt++) {
                try { queues = consumer.fetchSubscribeMessageQueues(topic); } catch (Exception e) { if (attempt > 60) throw e; Thread.sleep(500); }
            }
            for (MessageQueue queue : queues) {
                long offset = consumer.minOffset(queue);
                long max = consumer.maxOffset(queue);
                while (offset < max) {
                    PullResult result = consumer.pull(queue, "*", offset, 32, 20000);
                    if (result.getPullStatus() == PullStatus.FOUND) {
                        for (MessageExt message : result.getMsgFoundList()) {
                            String key = message.getKeys() == null ? "-" : message.getKeys().split(" ")[0];
                            writer.println(key + " " + crc(message.getBody()) + " " + message.getBody().length + " "
                                + message.getQueueId() + " " + message.getQueueOffset() + " " + message.getCommitLogOffset());
                            count++;
                        }
                    }
                    if (result.getNextBeginOffset() <= offset && result.getPullStatus() != PullStatus.FOUND) break;
                    offset = result.getNextBeginOffset();
                }
            }
        }
        System.out.println("CONSUMED " + count);
        consumer.shutdown();
    }
}
