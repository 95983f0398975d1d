// The real Java client under the clock: sends from many threads, batches, and push consumption, each for a window that
// it is told. One process serves every broker in turn, so that all meet the same compiled code. What a window means is
// decided by who writes to its standard input.
//
//   send NAMESRV TOPIC THREADS BATCH BODY WARM_UP_MS MS     BATCH 1: single messages
//   consume NAMESRV TOPIC COUNT                             a new group, from the first message on
//
// Each line is answered by one line of JSON that begins with "@@ ".

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

public class JavaBench {
    /** A fresh producer or consumer has so long to be served at all. */
    static final long FIRST_MS = 30_000;
    static final long CONSUME_MS = 120_000;
    static int clients = 0;

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            try {
                String answer = words[0].equals("send")
                    ? send(words[1], words[2], number(words[3]), number(words[4]), number(words[5]), number(words[6]), number(words[7]))
                    : consume(words[1], words[2], number(words[3]));
                System.out.println("@@ " + answer);
            } catch (Throwable e) {
                System.out.println("@@ {\"error\":\"" + String.valueOf(e).replaceAll("[^ -~]|[\"\\\\]", " ") + "\"}");
            }
        }
        // The client's own threads would keep the process alive.
        System.exit(0);
    }

    static int number(String word) {
        return Integer.parseInt(word);
    }

    static double cpuSeconds() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
    }

    /** One thread's times, ns. */
    static class Times {
        long[] values = new long[1 << 14];
        int count = 0;
        long failed = 0;

        void add(long value) {
            if (count == values.length) values = Arrays.copyOf(values, 2 * count);
            values[count++] = value;
        }
    }

    static byte[] body(int size) {
        byte[] body = new byte[size];
        for (int i = 0; i < size; i++) body[i] = (byte) ('a' + i % 26);
        return body;
    }

    static SendResult sendOnce(DefaultMQProducer producer, String topic, int batch, byte[] body) throws Exception {
        if (batch == 1) return producer.send(new Message(topic, body));
        List<Message> messages = new ArrayList<>(batch);
        for (int i = 0; i < batch; i++) messages.add(new Message(topic, body));
        return producer.send(messages);
    }

    static String send(String namesrv, String topic, int threads, int batch, int bodySize, int warmUpMs, int ms) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("bench_producer");
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName("bench_" + clients++);
        producer.setDefaultTopicQueueNums(8);
        producer.setMaxMessageSize(4 * 1024 * 1024);
        // A large body of few letters would reach the broker as a small one.
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        try {
            byte[] body = body(bodySize);
            awaitServed(producer, topic, batch, body);
            List<Times> all = new ArrayList<>();
            List<Thread> workers = new ArrayList<>();
            final long from = System.nanoTime() + warmUpMs * 1_000_000L;
            final long until = from + ms * 1_000_000L;
            for (int t = 0; t < threads; t++) {
                final Times times = new Times();
                all.add(times);
                Thread worker = new Thread(() -> work(producer, topic, batch, body, from, until, times));
                worker.start();
                workers.add(worker);
            }
            Thread.sleep(warmUpMs);
            double cpu = cpuSeconds();
            for (Thread worker : workers) worker.join();
            cpu = cpuSeconds() - cpu;
            return report(all, batch, ms / 1e3, cpu);
        } finally {
            producer.shutdown();
        }
    }

    /** A pair may still be finding each other. */
    static void awaitServed(DefaultMQProducer producer, String topic, int batch, byte[] body) throws Exception {
        long deadline = System.nanoTime() + FIRST_MS * 1_000_000L;
        for (;;) {
            String problem;
            try {
                SendStatus status = sendOnce(producer, topic, batch, body).getSendStatus();
                if (status == SendStatus.SEND_OK) return;
                problem = status.name();
            } catch (Exception e) {
                if (System.nanoTime() > deadline) throw e;
                problem = e.toString();
            }
            if (System.nanoTime() > deadline) throw new IllegalStateException(problem);
            Thread.sleep(100);
        }
    }

    static void work(DefaultMQProducer producer, String topic, int batch, byte[] body, long from, long until, Times times) {
        for (;;) {
            long began = System.nanoTime();
            if (began >= until) return;
            boolean ok = false;
            try {
                ok = sendOnce(producer, topic, batch, body).getSendStatus() == SendStatus.SEND_OK;
            } catch (Exception e) {
                // counted
            }
            long ended = System.nanoTime();
            // Answered within the window: what is under way at its end belongs to the next.
            if (ended < from || ended >= until) continue;
            if (ok) times.add(ended - began);
            else times.failed++;
        }
    }

    static String report(List<Times> all, int batch, double seconds, double cpu) {
        int count = 0;
        long failed = 0;
        for (Times times : all) {
            count += times.count;
            failed += times.failed;
        }
        long[] values = new long[count];
        int at = 0;
        for (Times times : all) {
            System.arraycopy(times.values, 0, values, at, times.count);
            at += times.count;
        }
        Arrays.sort(values);
        return String.format(Locale.ROOT,
            "{\"messages\":%d,\"failed\":%d,\"seconds\":%.3f,\"perSecond\":%.1f,\"p50us\":%.1f,\"p99us\":%.1f,\"p999us\":%.1f,\"clientCpuSeconds\":%.2f}",
            (long) count * batch, failed, seconds, count * batch / seconds, share(values, 0.5), share(values, 0.99), share(values, 0.999), cpu);
    }

    static double share(long[] sorted, double share) {
        return sorted.length == 0 ? 0 : sorted[(int) (sorted.length * share)] / 1e3;
    }

    static String consume(String namesrv, String topic, int count) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("bench_consumer_" + System.nanoTime());
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName("bench_" + clients++);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        AtomicLong seen = new AtomicLong();
        AtomicLong first = new AtomicLong();
        AtomicLong last = new AtomicLong();
        CountDownLatch done = new CountDownLatch(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            long before = seen.getAndAdd(batch.size());
            if (before == 0) first.set(System.nanoTime());
            if (before < count && before + batch.size() >= count) {
                last.set(System.nanoTime());
                done.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        double cpu = cpuSeconds();
        consumer.start();
        try {
            if (!done.await(CONSUME_MS, TimeUnit.MILLISECONDS)) throw new IllegalStateException("consumed " + seen + " of " + count);
        } finally {
            consumer.shutdown();
        }
        double seconds = (last.get() - first.get()) / 1e9;
        return String.format(Locale.ROOT, "{\"messages\":%d,\"seconds\":%.3f,\"perSecond\":%.1f,\"clientCpuSeconds\":%.2f}",
            count, seconds, count / seconds, cpuSeconds() - cpu);
    }
}
