// Steady load of the real Java client, in processes that tests restart and kill: `produce` sends numbered messages, each
// thread to a queue of its own, and writes down what was acknowledged; `consume` writes down what its listener was handed,
// each line before the message counts as consumed. All judging is done by the tests.
//
//   java ClientLoad produce NAMESRV TOPIC OUT THREADS PAUSE_MS          lines: STATUS thread number broker queue offset crc
//   java ClientLoad consume NAMESRV TOPIC OUT GROUP orderly|concurrently [BROKER_ID]
//                                                                    lines: thread number broker queue offset crc
//
// Both go on until the file OUT.stop appears. With BROKER_ID the consumer pulls from the brokers of that id only.

import java.io.File;
import java.io.FileOutputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.impl.consumer.PullAPIWrapper;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

public class ClientLoad {
    static FileOutputStream out;
    static File stop;

    public static void main(String[] args) throws Exception {
        out = new FileOutputStream(args[3], true);
        stop = new File(args[3] + ".stop");
        if (args[0].equals("produce")) produce(args[1], args[2], Integer.parseInt(args[4]), Integer.parseInt(args[5]));
        else consume(args[1], args[2], args[4], args[5].equals("orderly"), args.length > 6 ? Long.parseLong(args[6]) : -1);
        // The client's own threads would keep the process alive.
        System.exit(0);
    }

    /** One write, so that a killed process leaves whole lines. */
    static synchronized void line(String line) {
        try {
            out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    static long crc(byte[] body) {
        CRC32 crc = new CRC32();
        crc.update(body);
        return crc.getValue();
    }

    static void produce(String namesrv, String topic, int threads, int pauseMs) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("G_load_" + topic);
        producer.setNamesrvAddr(namesrv);
        producer.setPollNameServerInterval(500);
        producer.setHeartbeatBrokerInterval(1000);
        // Nothing is tried again behind the loop's back: a message is sent until it is acknowledged, then the next.
        producer.setRetryTimesWhenSendFailed(0);
        producer.setSendMsgTimeout(3000);
        producer.start();
        List<Thread> workers = new ArrayList<>();
        for (int t = 0; t < threads; t++) {
            final int number = t;
            Thread worker = new Thread(() -> work(producer, topic, number, pauseMs));
            worker.start();
            workers.add(worker);
        }
        for (Thread worker : workers) worker.join();
        producer.shutdown();
    }

    static void work(DefaultMQProducer producer, String topic, int thread, int pauseMs) {
        Random random = new Random(thread);
        for (int number = 0; !stop.exists(); number++) {
            byte[] noise = new byte[32 + random.nextInt(900)];
            random.nextBytes(noise);
            byte[] head = (thread + " " + number + " ").getBytes(StandardCharsets.UTF_8);
            byte[] body = new byte[head.length + noise.length];
            System.arraycopy(head, 0, body, 0, head.length);
            System.arraycopy(noise, 0, body, head.length, noise.length);
            while (!stop.exists()) {
                String status;
                try {
                    Message message = new Message(topic, "T" + thread, thread + "-" + number, body);
                    SendResult result = producer.send(message, (queues, m, arg) -> queues.get((Integer) arg % queues.size()), thread);
                    status = result.getSendStatus().name();
                    MessageQueue queue = result.getMessageQueue();
                    line(status + " " + thread + " " + number + " " + queue.getBrokerName() + " " + queue.getQueueId() + " " + result.getQueueOffset() + " " + crc(body));
                } catch (Exception e) {
                    status = e.getClass().getSimpleName();
                    line(status + " " + thread + " " + number);
                }
                if (status.equals("SEND_OK")) break;
                pause(50);
            }
            pause(pauseMs);
        }
    }

    static void pause(int ms) {
        try {
            if (ms > 0) Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    static void consume(String namesrv, String topic, String group, boolean orderly, long brokerId) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setPollNameServerInterval(500);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.subscribe(topic, "*");
        if (orderly) {
            consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
                for (MessageExt message : batch) seen(message);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
                for (MessageExt message : batch) seen(message);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        consumer.start();
        if (brokerId >= 0) {
            // The one thing here that applications can't do: a push consumer reads where the broker suggests.
            Field field = consumer.getDefaultMQPushConsumerImpl().getClass().getDeclaredField("pullAPIWrapper");
            field.setAccessible(true);
            PullAPIWrapper pulls = (PullAPIWrapper) field.get(consumer.getDefaultMQPushConsumerImpl());
            pulls.setDefaultBrokerId(brokerId);
            pulls.setConnectBrokerByUser(true);
        }
        System.out.println("STARTED");
        while (!stop.exists()) Thread.sleep(50);
        consumer.shutdown();
    }

    static void seen(MessageExt message) {
        String[] head = new String(message.getBody(), 0, Math.min(40, message.getBody().length), StandardCharsets.ISO_8859_1).split(" ", 3);
        line(head[0] + " " + head[1] + " " + message.getBrokerName() + " " + message.getQueueId() + " " + message.getQueueOffset() + " " + crc(message.getBody()));
    }
}
