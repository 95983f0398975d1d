// The real Java client as applications use it: one JVM runs many scenarios against a NameServer, several at a time, each
// with topics and groups of its own. Each ends with one line `@@ {"scenario", "ok", "facts", "notes"}`: facts are what must
// be the same against any broker (the tests compare them), notes are figures to look at. `restart` asks the test for a
// restart of the broker (`@@ASK restart`, answered by a file) and so comes last, alone.
//
//   java ClientScenarios NAMESRV PREFIX ANSWERS_DIR SCENARIO,...|all
//
// One source for 4.9 and 5.x: what only one of them has is reached by reflection, and clients.ts renames two packages.

import java.io.File;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.function.*;
import java.util.stream.*;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.*;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.*;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

public class ClientScenarios {
    static String namesrv;
    static String prefix;
    static File answers;
    static final long LIMIT_MS = 60_000;

    interface Scenario { void run(Outcome o) throws Exception; }

    static final Map<String, Scenario> ALL = new LinkedHashMap<>();
    static {
        // Those that wait longest come first.
        ALL.put("transaction", ClientScenarios::transaction);
        ALL.put("rebalance", ClientScenarios::rebalance);
        ALL.put("resetOffset", ClientScenarios::resetOffset);
        ALL.put("dlq", ClientScenarios::dlq);
        ALL.put("retry", ClientScenarios::retry);
        ALL.put("delayLevels", ClientScenarios::delayLevels);
        ALL.put("timer", ClientScenarios::timer);
        ALL.put("orderedGivesUp", ClientScenarios::orderedGivesUp);
        ALL.put("quickStart", ClientScenarios::quickStart);
        ALL.put("ordered", ClientScenarios::ordered);
        ALL.put("tagFilter", ClientScenarios::tagFilter);
        ALL.put("sqlFilter", ClientScenarios::sqlFilter);
        ALL.put("batch", ClientScenarios::batch);
        ALL.put("broadcast", ClientScenarios::broadcast);
        ALL.put("pullConsumer", ClientScenarios::pullConsumer);
        ALL.put("litePull", ClientScenarios::litePull);
        ALL.put("consumeFrom", ClientScenarios::consumeFrom);
        ALL.put("compressed", ClientScenarios::compressed);
        ALL.put("bigBody", ClientScenarios::bigBody);
        ALL.put("refusals", ClientScenarios::refusals);
        ALL.put("query", ClientScenarios::query);
        ALL.put("trace", ClientScenarios::trace);
        ALL.put("requestReply", ClientScenarios::requestReply);
        ALL.put("consumerRestart", ClientScenarios::consumerRestart);
        ALL.put("roundTrip", ClientScenarios::roundTrip);
        ALL.put("namespace", ClientScenarios::namespace);
        ALL.put("vip", ClientScenarios::vip);
        ALL.put("credentials", ClientScenarios::credentials);
        ALL.put("autoBatch", ClientScenarios::autoBatch);
        ALL.put("topics", ClientScenarios::topics);
        ALL.put("subscriptions", ClientScenarios::subscriptions);
        ALL.put("restart", ClientScenarios::restart);
    }

    public static void main(String[] args) throws Exception {
        namesrv = args[0];
        prefix = args[1];
        answers = new File(args[2]);
        List<String> names = args[3].equals("all") ? new ArrayList<>(ALL.keySet()) : Arrays.asList(args[3].split(","));
        awaitRoute("TBW102");
        ExecutorService pool = Executors.newFixedThreadPool(10);
        for (String name : names) if (!name.equals("restart")) pool.execute(() -> play(name));
        pool.shutdown();
        pool.awaitTermination(5, TimeUnit.MINUTES);
        if (names.contains("restart")) play("restart");
        // The clients' own threads would keep the process alive.
        System.exit(0);
    }

    /** What a scenario saw. */
    static final class Outcome {
        final Map<String, Object> facts = Collections.synchronizedMap(new TreeMap<>());
        final Map<String, Object> notes = Collections.synchronizedMap(new TreeMap<>());
        final Deque<Runnable> closing = new ConcurrentLinkedDeque<>();
        final String name;

        Outcome(String name) { this.name = name; }

        void fact(String key, Object value) { facts.put(key, value); }

        void note(String key, Object value) { notes.put(key, value); }

        String topic(String suffix) { return prefix + "_" + name + suffix; }

        String topic() { return topic(""); }

        String group(String suffix) { return "G_" + prefix + "_" + name + suffix; }
    }

    static void play(String name) {
        Outcome o = new Outcome(name);
        long started = System.currentTimeMillis();
        String error = null;
        try {
            ALL.get(name).run(o);
        } catch (Throwable e) {
            error = e.toString();
            e.printStackTrace();
        }
        // Clients end beside the next scenario: a shutdown takes up to a second, and nobody looks at it.
        Thread closer = new Thread(() -> {
            while (!o.closing.isEmpty()) try { o.closing.pop().run(); } catch (Throwable ignored) { }
        });
        closer.start();
        if (error != null) o.note("error", error);
        o.note("ms", System.currentTimeMillis() - started);
        print("@@ {\"scenario\":" + json(name) + ",\"ok\":" + (error == null) + ",\"facts\":" + json(o.facts) + ",\"notes\":" + json(o.notes) + "}");
    }

    static synchronized void print(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static String json(Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) return String.valueOf(value);
        if (value instanceof Map) {
            return ((Map<?, ?>) value).entrySet().stream().map(e -> json(String.valueOf(e.getKey())) + ":" + json(e.getValue())).collect(Collectors.joining(",", "{", "}"));
        }
        if (value instanceof Collection) return ((Collection<?>) value).stream().map(ClientScenarios::json).collect(Collectors.joining(",", "[", "]"));
        StringBuilder text = new StringBuilder("\"");
        for (char c : String.valueOf(value).toCharArray()) {
            if (c == '"' || c == '\\') text.append('\\').append(c);
            else if (c < ' ' || c > '~') text.append(String.format("\\u%04x", (int) c));
            else text.append(c);
        }
        return text.append('"').toString();
    }

    // ---- clients -------------------------------------------------------------------------------------------------

    static DefaultMQProducer ready(Outcome o, DefaultMQProducer producer) throws Exception {
        producer.setNamesrvAddr(namesrv);
        producer.setPollNameServerInterval(1000);
        // A reply finds its asker by the asker's heartbeat, and one that met another is dropped.
        producer.setHeartbeatBrokerInterval(2000);
        producer.setSendMsgTimeout(15_000);
        producer.start();
        o.closing.push(producer::shutdown);
        return producer;
    }

    static DefaultMQProducer producer(Outcome o) throws Exception {
        return ready(o, new DefaultMQProducer(o.group("_P")));
    }

    static DefaultMQPushConsumer consumer(Outcome o, String group) {
        return prepared(o, new DefaultMQPushConsumer(group));
    }

    static DefaultMQPushConsumer prepared(Outcome o, DefaultMQPushConsumer consumer) {
        consumer.setNamesrvAddr(namesrv);
        consumer.setPollNameServerInterval(1000);
        // A heartbeat that met another is dropped; until the next one the broker takes the subscription for outdated.
        consumer.setHeartbeatBrokerInterval(2000);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        o.closing.push(consumer::shutdown);
        return consumer;
    }

    /** What a listener was handed, in order of arrival. */
    static final class Inbox {
        final List<MessageExt> messages = Collections.synchronizedList(new ArrayList<>());

        MessageListenerConcurrently concurrently() {
            return (batch, context) -> {
                messages.addAll(batch);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            };
        }

        Inbox await(int count) throws Exception {
            until(count + " messages, of which " + bodies() + " came", () -> messages.size() >= count);
            return this;
        }

        List<MessageExt> copy() { synchronized (messages) { return new ArrayList<>(messages); } }

        List<String> bodies() { return copy().stream().map(ClientScenarios::text).collect(Collectors.toList()); }

        /** Each of these exactly once, and nothing else. */
        void assertBodies(Collection<String> wanted) {
            List<String> got = bodies();
            Collections.sort(got);
            check(got.equals(wanted.stream().sorted().collect(Collectors.toList())), "got " + got + ", wanted " + wanted);
        }
    }

    static String text(MessageExt message) { return new String(message.getBody(), StandardCharsets.UTF_8); }

    static Message message(String topic, String tags, String body) {
        return new Message(topic, tags, body.getBytes(StandardCharsets.UTF_8));
    }

    static List<String> names(String prefix, int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> prefix + i).collect(Collectors.toList());
    }

    static Set<String> keys(Message message) { return new TreeSet<>(message.getProperties().keySet()); }

    static void check(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }

    interface Condition { boolean holds() throws Exception; }

    static void until(String what, Condition condition) throws Exception { until(what, LIMIT_MS, condition); }

    static void until(String what, long limitMs, Condition condition) throws Exception {
        long deadline = System.currentTimeMillis() + limitMs;
        while (!condition.holds()) {
            if (System.currentTimeMillis() > deadline) throw new AssertionError("waited " + limitMs + " ms for " + what);
            Thread.sleep(20);
        }
    }

    /** A topic made by its first message is known to others with the broker's registration. */
    static void awaitRoute(String topic) throws Exception {
        until("a route of " + topic, () -> {
            try {
                return !admin().fetchSubscribeMessageQueues(topic).isEmpty();
            } catch (MQClientException e) {
                return false;
            }
        });
    }

    private static DefaultMQPullConsumer lookups;

    static synchronized DefaultMQPullConsumer admin() throws MQClientException {
        if (lookups == null) {
            DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("G_lookups");
            consumer.setNamesrvAddr(namesrv);
            consumer.setInstanceName("lookups");
            consumer.start();
            lookups = consumer;
        }
        return lookups;
    }

    /** Of {@code ResponseCode}, which stands in another package in each version. */
    static final int NO_MESSAGE = 208;

    /** What is found by a key, once `count` messages are: a broker's index follows its log, on a busy machine by seconds. */
    static List<MessageExt> byKey(DefaultMQProducer producer, String topic, String key, long begin, int count) throws Exception {
        List<MessageExt> found = new ArrayList<>();
        until(count + " messages with key " + key, () -> {
            found.clear();
            try {
                found.addAll(producer.queryMessage(topic, key, 32, begin, Long.MAX_VALUE).getMessageList());
            } catch (MQClientException e) {
                if (e.getResponseCode() != NO_MESSAGE) throw e;
            }
            return found.size() >= count;
        });
        return found;
    }

    /** Sends the first message, which makes the topic, and waits for its route. */
    static SendResult first(DefaultMQProducer producer, Message message) throws Exception {
        SendResult result = producer.send(message);
        awaitRoute(message.getTopic());
        return result;
    }

    static Object call(Object target, String method, Class<?> type, Object value) throws Exception {
        return target.getClass().getMethod(method, type).invoke(target, value);
    }

    static boolean has(Class<?> type, String method, Class<?>... parameters) {
        try {
            type.getMethod(method, parameters);
            return true;
        } catch (NoSuchMethodException e) {
            return false;
        }
    }

    // ---- scenarios -----------------------------------------------------------------------------------------------

    static void quickStart(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        SendResult first = first(producer, message(o.topic(), "T", "m0"));
        check(first.getSendStatus() == SendStatus.SEND_OK, "" + first);
        MessageId id = MessageDecoder.decodeMessageId(first.getOffsetMsgId());
        check(id.getOffset() >= 0 && first.getQueueOffset() == 0, "" + first);
        o.fact("region", first.getRegionId());
        o.fact("traceOn", first.isTraceOn());
        Inbox inbox = new Inbox();
        Inbox other = new Inbox();
        for (Inbox box : Arrays.asList(inbox, other)) {
            DefaultMQPushConsumer consumer = consumer(o, o.group(box == inbox ? "_A" : "_B"));
            if (box == other && has(DefaultMQPushConsumer.class, "setUseHeartbeatV2", boolean.class)) call(consumer, "setUseHeartbeatV2", boolean.class, true);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(o.topic(), "*");
            consumer.registerMessageListener(box.concurrently());
            consumer.start();
        }
        Set<Integer> queues = new TreeSet<>();
        for (int i = 1; i < 11; i++) queues.add(producer.send(message(o.topic(), "T", "m" + i)).getMessageQueue().getQueueId());
        CountDownLatch latch = new CountDownLatch(10);
        AtomicReference<Throwable> failed = new AtomicReference<>();
        for (int i = 11; i < 21; i++) {
            producer.send(message(o.topic(), "T", "m" + i), new SendCallback() {
                public void onSuccess(SendResult result) { latch.countDown(); }
                public void onException(Throwable e) { failed.set(e); latch.countDown(); }
            });
        }
        check(latch.await(20, TimeUnit.SECONDS) && failed.get() == null, "async sends: " + failed.get());
        for (int i = 21; i < 31; i++) producer.sendOneway(message(o.topic(), "T", "m" + i));
        inbox.await(31).assertBodies(names("m", 0, 31));
        other.await(31).assertBodies(names("m", 0, 31));
        MessageExt zero = inbox.copy().stream().filter(m -> text(m).equals("m0")).findFirst().get();
        check(zero.getMsgId().equals(first.getMsgId()), zero.getMsgId() + " is not " + first.getMsgId());
        check(((MessageClientExt) zero).getOffsetMsgId().equals(first.getOffsetMsgId()), "offset ids differ");
        o.fact("queues", queues);
        o.fact("properties", keys(zero));
        o.fact("cluster", zero.getProperty("CLUSTER"));
        o.fact("sysFlag", zero.getSysFlag());
        o.fact("bornHost", zero.getBornHost().toString().replaceAll(".*/|:.*", ""));
    }

    static void ordered(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        Map<Integer, List<Integer>> seen = new ConcurrentHashMap<>();
        Map<Integer, AtomicInteger> busy = new ConcurrentHashMap<>();
        AtomicInteger suspended = new AtomicInteger();
        AtomicReference<String> wrong = new AtomicReference<>();
        AtomicInteger count = new AtomicInteger();
        for (int i = 0; i < 25; i++) {
            for (int key = 0; key < 4; key++) {
                Message message = message(o.topic(), "T", key + ":" + i);
                producer.send(message, (mqs, m, arg) -> mqs.get((Integer) arg % mqs.size()), key);
            }
            if (i == 2) {
                awaitRoute(o.topic());
                DefaultMQPushConsumer consumer = consumer(o, o.group(""));
                consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
                consumer.setSuspendCurrentQueueTimeMillis(200);
                consumer.subscribe(o.topic(), "*");
                consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
                    AtomicInteger working = busy.computeIfAbsent(context.getMessageQueue().getQueueId(), k -> new AtomicInteger());
                    if (working.incrementAndGet() != 1) wrong.set("two threads in one queue");
                    try {
                        for (MessageExt message : batch) {
                            if (text(message).endsWith(":7") && message.getReconsumeTimes() == 0) {
                                suspended.incrementAndGet();
                                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                            }
                            String[] parts = text(message).split(":");
                            seen.computeIfAbsent(Integer.parseInt(parts[0]), k -> new CopyOnWriteArrayList<>()).add(Integer.parseInt(parts[1]));
                            count.incrementAndGet();
                        }
                        return ConsumeOrderlyStatus.SUCCESS;
                    } finally {
                        working.decrementAndGet();
                    }
                });
                consumer.start();
            }
        }
        until("100 ordered messages", () -> count.get() >= 100);
        check(wrong.get() == null, wrong.get());
        List<Integer> wanted = IntStream.range(0, 25).boxed().collect(Collectors.toList());
        for (int key = 0; key < 4; key++) check(wanted.equals(seen.get(key)), "key " + key + " came as " + seen.get(key));
        o.fact("suspended", suspended.get());
    }

    /** An orderly consumer that gives up sends the message itself: as the group holds locks, to the dead letters. */
    static void orderedGivesUp(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "bad"));
        List<Integer> times = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.setMaxReconsumeTimes(2);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            times.add(batch.get(0).getReconsumeTimes());
            return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
        });
        consumer.start();
        MessageExt dead = readAll("%DLQ%" + o.group(""), 1).get(0);
        check(text(dead).equals("bad"), text(dead));
        o.fact("times", times);
        o.fact("deadReconsumeTimes", dead.getReconsumeTimes());
        o.fact("deadProperties", keys(dead));
    }

    /** Every message of a topic, read queue by queue, once there are `count`. */
    static List<MessageExt> readAll(String topic, int count) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        until(count + " messages in " + topic, () -> {
            all.clear();
            Set<MessageQueue> queues;
            try {
                queues = admin().fetchSubscribeMessageQueues(topic);
            } catch (MQClientException e) {
                return false;
            }
            for (MessageQueue queue : queues) {
                long offset = admin().minOffset(queue);
                long max = admin().maxOffset(queue);
                while (offset < max) {
                    PullResult result = admin().pull(queue, "*", offset, 32, 20_000);
                    if (result.getPullStatus() == PullStatus.FOUND) all.addAll(result.getMsgFoundList());
                    offset = result.getNextBeginOffset();
                }
            }
            return all.size() >= count;
        });
        return all;
    }

    static void delayLevels(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "now"));
        Map<String, Long> arrived = new ConcurrentHashMap<>();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            for (MessageExt message : batch) arrived.put(text(message), System.currentTimeMillis());
            inbox.messages.addAll(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Map<String, Long> sent = new HashMap<>();
        long[] delays = {0, 1000, 5000};
        for (int level = 1; level <= 2; level++) {
            Message message = message(o.topic(), "TagOfDelay", "level" + level);
            message.setDelayTimeLevel(level);
            sent.put("level" + level, System.currentTimeMillis());
            SendResult result = producer.send(message);
            o.fact("queueId" + level, result.getMessageQueue().getQueueId() < 4);
            o.fact("sendTopic" + level, result.getMessageQueue().getTopic().equals(o.topic()));
        }
        inbox.await(3).assertBodies(Arrays.asList("now", "level1", "level2"));
        for (int level = 1; level <= 2; level++) {
            long late = arrived.get("level" + level) - sent.get("level" + level) - delays[level];
            o.note("lateMs" + level, late);
            check(late >= -20 && late < 4000, "level " + level + " came " + late + " ms late");
        }
        MessageExt one = inbox.copy().stream().filter(m -> text(m).equals("level1")).findFirst().get();
        o.fact("properties", keys(one));
        o.fact("DELAY", one.getProperty("DELAY"));
        o.fact("REAL_TOPIC", o.topic().equals(one.getProperty("REAL_TOPIC")));
        o.fact("tags", one.getTags());
        // The queue's entry has the tag's hash again: a filter finds it.
        MessageQueue queue = new MessageQueue(o.topic(), one.getBrokerName(), one.getQueueId());
        PullResult pulled = admin().pull(queue, "TagOfDelay", one.getQueueOffset(), 1, 20_000);
        o.fact("foundByTag", pulled.getPullStatus().name());
    }

    static void timer(Outcome o) throws Exception {
        if (!has(Message.class, "setDelayTimeMs", long.class)) return;
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "now"));
        Map<String, Long> arrived = new ConcurrentHashMap<>();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            for (MessageExt message : batch) arrived.put(text(message), System.currentTimeMillis());
            inbox.messages.addAll(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Map<String, Long> due = new HashMap<>();
        for (String way : Arrays.asList("setDelayTimeMs", "setDelayTimeSec", "setDeliverTimeMs")) {
            Message message = message(o.topic(), "T", way);
            long now = System.currentTimeMillis();
            call(message, way, long.class, way.endsWith("Sec") ? 3L : way.startsWith("setDelay") ? 2000L : now + 4000L);
            due.put(way, now + (way.endsWith("Sec") ? 3000 : way.startsWith("setDelay") ? 2000 : 4000));
            SendResult result = producer.send(message);
            Object handle = result.getClass().getMethod("getRecallHandle").invoke(result);
            o.fact("handle " + way, handle == null ? null : handleShape(handle.toString(), o.topic(), result.getMsgId()));
        }
        Message past = message(o.topic(), "T", "past");
        call(past, "setDeliverTimeMs", long.class, System.currentTimeMillis() - 1000);
        producer.send(past);
        Message far = message(o.topic(), "T", "far");
        call(far, "setDelayTimeSec", long.class, 4L * 24 * 3600);
        o.fact("tooFar", codeOf(() -> producer.send(far)));
        Message recalled = message(o.topic(), "T", "recalled");
        call(recalled, "setDelayTimeMs", long.class, 3000L);
        SendResult kept = producer.send(recalled);
        String handle = String.valueOf(kept.getClass().getMethod("getRecallHandle").invoke(kept));
        Method recall = DefaultMQProducer.class.getMethod("recallMessage", String.class, String.class);
        check(recall.invoke(producer, o.topic(), handle).equals(kept.getMsgId()), "the recalled id");
        o.fact("bad handle", codeOf(() -> {
            try {
                return recall.invoke(producer, o.topic(), "bm9uc2Vuc2U");
            } catch (java.lang.reflect.InvocationTargetException e) {
                throw (Exception) e.getCause();
            }
        }));
        inbox.await(5).assertBodies(Arrays.asList("now", "past", "setDelayTimeMs", "setDelayTimeSec", "setDeliverTimeMs"));
        due.forEach((way, at) -> {
            long late = arrived.get(way) - at;
            o.note("lateMs " + way, late);
            // The wheel's unit is a second, rounded down.
            check(late >= -1100 && late < 4000, way + " came " + late + " ms late");
        });
        for (MessageExt message : inbox.copy()) o.fact("properties " + text(message), keys(message));
    }

    static String handleShape(String handle, String topic, String msgId) {
        String[] parts = new String(Base64.getUrlDecoder().decode(handle), StandardCharsets.UTF_8).split(" ");
        return parts[0] + " " + parts[1].equals(topic) + " " + parts.length + " " + parts[4].equals(msgId);
    }

    /** Code of the error that a call ends with. */
    static Object codeOf(Callable<?> call) {
        try {
            return call.call();
        } catch (MQBrokerException e) {
            return "MQBrokerException " + e.getResponseCode();
        } catch (MQClientException e) {
            return "MQClientException " + e.getResponseCode();
        } catch (Exception e) {
            return e.getClass().getSimpleName();
        }
    }

    static void transaction(Outcome o) throws Exception {
        Map<String, AtomicInteger> checks = new ConcurrentHashMap<>();
        List<String> wrong = new CopyOnWriteArrayList<>();
        Map<String, MessageExt> checked = new ConcurrentHashMap<>();
        TransactionMQProducer producer = new TransactionMQProducer(o.group("_P"));
        producer.setTransactionListener(new TransactionListener() {
            public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
                if (message.getTransactionId() == null) wrong.add("no transaction id for " + arg);
                return arg.equals("commit") ? LocalTransactionState.COMMIT_MESSAGE : arg.equals("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
            }

            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                String body = text(message);
                checked.put(body, message);
                int times = checks.computeIfAbsent(body, k -> new AtomicInteger()).incrementAndGet();
                if (body.equals("checkRollback") || body.equals("rollback")) return LocalTransactionState.ROLLBACK_MESSAGE;
                return body.equals("checkTwice") && times == 1 ? LocalTransactionState.UNKNOW : LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        ready(o, producer);
        first(producer, message(o.topic(), "T", "plain"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "T");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        for (String what : Arrays.asList("commit", "rollback", "checkCommit", "checkRollback", "checkTwice")) {
            Message message = message(o.topic(), "T", what);
            message.setKeys("key-" + what);
            TransactionSendResult result = producer.sendMessageInTransaction(message, what);
            check(result.getSendStatus() == SendStatus.SEND_OK, "" + result);
            check(result.getTransactionId().equals(result.getMsgId()), "" + result);
            o.fact("state " + what, result.getLocalTransactionState().name());
        }
        List<String> wanted = Arrays.asList("plain", "commit", "checkCommit", "checkTwice");
        until("the check of checkRollback", () -> checks.containsKey("checkRollback"));
        inbox.await(4);
        // What was rolled back would have come before this one.
        producer.sendMessageInTransaction(message(o.topic(), "T", "commit2"), "commit");
        inbox.await(5);
        List<String> all = new ArrayList<>(wanted);
        all.add("commit2");
        inbox.assertBodies(all);
        check(wrong.isEmpty(), "" + wrong);
        check(checks.get("checkTwice").get() >= 2, "checks: " + checks);
        check(!checks.containsKey("commit") && !checks.containsKey("rollback"), "checked though ended: " + checks);
        for (MessageExt message : inbox.copy()) {
            if (text(message).startsWith("commit2")) continue;
            Set<String> names = keys(message);
            o.fact("properties " + text(message), names);
            o.fact("sysFlag " + text(message), message.getSysFlag());
        }
        MessageExt half = checked.get("checkCommit");
        o.fact("checked topic", half.getTopic().equals(o.topic()));
        o.fact("checked transaction id", half.getTransactionId().equals(half.getProperty("UNIQ_KEY")));
        o.fact("checked properties", keys(half));
    }

    static void tagFilter(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "A", "A0"));
        Inbox two = new Inbox();
        Inbox collision = new Inbox();
        for (Inbox box : Arrays.asList(two, collision)) {
            DefaultMQPushConsumer consumer = consumer(o, o.group(box == two ? "_two" : "_collision"));
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(o.topic(), box == two ? "A || C" : "AaAa");
            consumer.registerMessageListener(box.concurrently());
            consumer.start();
        }
        // "AaAa" and "BBBB" have one hash: only the client tells them apart.
        for (int i = 1; i < 5; i++) for (String tag : Arrays.asList("A", "B", "C", "BBBB", "AaAa")) producer.send(message(o.topic(), tag, tag + i));
        producer.send(message(o.topic(), null, "untagged"));
        List<String> wanted = names("A", 0, 5);
        wanted.addAll(names("C", 1, 5));
        two.await(9).assertBodies(wanted);
        collision.await(4).assertBodies(names("AaAa", 1, 5));
    }

    static void sqlFilter(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "Vip", "0"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), MessageSelector.bySql("(num > 5 AND color = 'red') OR TAGS = 'Vip' OR word IN ('x', 'it''s') OR (num BETWEEN 1 AND 2 AND missing IS NULL)"));
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        List<String> wanted = new ArrayList<>(Collections.singleton("0"));
        for (int i = 1; i <= 20; i++) {
            Message message = message(o.topic(), i % 7 == 0 ? "Vip" : "T", "" + i);
            message.putUserProperty("num", "" + i);
            message.putUserProperty("color", i % 2 == 0 ? "red" : "blue");
            if (i % 9 == 0) message.putUserProperty("word", "it's");
            producer.send(message);
            if (i > 5 && i % 2 == 0 || i % 7 == 0 || i % 9 == 0 || i <= 2) wanted.add("" + i);
        }
        inbox.await(wanted.size()).assertBodies(wanted);
        for (String expression : Arrays.asList("num > 'abc'", "a LIKE", "((a = 1)", "TRUE = a AND", "a = 1")) {
            DefaultMQPushConsumer bad = consumer(o, o.group("_bad" + expression.length()));
            bad.subscribe(o.topic(), MessageSelector.bySql(expression));
            bad.registerMessageListener(new Inbox().concurrently());
            o.fact("start " + expression, codeOf(() -> { bad.start(); return "started"; }));
        }
        // A pull consumer carries its expression along. An offset of the queue with a match in it.
        DefaultMQPullConsumer puller = new DefaultMQPullConsumer(o.group("_pull"));
        puller.setNamesrvAddr(namesrv);
        puller.start();
        o.closing.push(puller::shutdown);
        int found = 0;
        Set<MessageQueue> queues = puller.fetchSubscribeMessageQueues(o.topic());
        for (MessageQueue queue : queues) {
            // It learns the broker's version by a heartbeat, and asks no broker of an unknown version for SQL.
            puller.pull(queue, "*", 0, 1, 20_000);
            AtomicReference<PullResult> result = new AtomicReference<>();
            until("a pull with SQL", () -> {
                try {
                    puller.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLock();
                    result.set(puller.pull(queue, MessageSelector.bySql("num > 5"), 0, 32, 20_000));
                    return true;
                } catch (MQClientException e) {
                    Thread.sleep(100);
                    return false;
                }
            });
            o.fact("pull with SQL", result.get().getPullStatus().name());
            if (result.get().getMsgFoundList() != null) found += result.get().getMsgFoundList().size();
        }
        o.fact("pulled with SQL", found);
    }

    static void batch(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "b0"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "T");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        List<Message> messages = new ArrayList<>();
        for (String body : names("b", 1, 51)) {
            Message message = message(o.topic(), "T", body);
            message.setKeys("k" + body);
            message.putUserProperty("own", body);
            messages.add(message);
        }
        SendResult result = producer.send(messages);
        check(result.getSendStatus() == SendStatus.SEND_OK, "" + result);
        inbox.await(51).assertBodies(names("b", 0, 51));
        List<MessageExt> got = inbox.copy().stream().filter(m -> !text(m).equals("b0")).sorted(Comparator.comparing(MessageExt::getQueueOffset)).collect(Collectors.toList());
        for (int i = 0; i < 50; i++) {
            MessageExt message = got.get(i);
            check(text(message).equals("b" + (i + 1)), "place " + i + " has " + text(message));
            check(message.getQueueOffset() == result.getQueueOffset() + i, "offsets have a gap at " + i);
            check(message.getKeys().equals("kb" + (i + 1)) && message.getUserProperty("own").equals("b" + (i + 1)), keys(message) + " of " + i);
        }
        String[] offsetIds = result.getOffsetMsgId().split(",");
        o.fact("offsetMsgIds", offsetIds.length);
        o.fact("msgIds", result.getMsgId().split(",").length);
        o.fact("seen under", got.stream().map(MessageExt::getMsgId).distinct().count());
        o.fact("properties", keys(got.get(3)));
        check(text(producer.viewMessage(o.topic(), offsetIds[7])).equals("b8"), "the eighth offset id is of another message");
        o.fact("by key", byKey(producer, o.topic(), "kb9", 0, 1).stream().map(ClientScenarios::text).collect(Collectors.toList()));
        // A batch of what can't be sent in one.
        Message delayed = message(o.topic(), "T", "late");
        delayed.setDelayTimeLevel(1);
        o.fact("delayed batch", codeOf(() -> producer.send(Arrays.asList(delayed, message(o.topic(), "T", "x")))).toString());
    }

    static void broadcast(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "x0"));
        List<Inbox> boxes = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Inbox box = new Inbox();
            boxes.add(box);
            DefaultMQPushConsumer consumer = consumer(o, o.group(""));
            consumer.setInstanceName(o.name + prefix + i);
            consumer.setMessageModel(MessageModel.BROADCASTING);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(o.topic(), "*");
            consumer.registerMessageListener(box.concurrently());
            consumer.start();
        }
        // A message that fails is dropped: no retries here.
        for (int i = 1; i < 20; i++) producer.send(message(o.topic(), "T", "x" + i));
        // A broadcast consumer starts at the end of a queue it knows nothing of, so that the first message may be missed.
        for (Inbox box : boxes) until("19 broadcast messages", () -> box.bodies().containsAll(names("x", 1, 20)));
        o.fact("counts", boxes.stream().map(box -> box.bodies().contains("x0") ? box.bodies().size() - 1 : box.bodies().size()).collect(Collectors.toList()));
    }

    static void pullConsumer(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "p"));
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(o.topic());
        MessageQueue queue = queues.get(0);
        for (int i = 0; i < 40; i++) producer.send(message(o.topic(), i % 2 == 0 ? "Even" : "Odd", "p" + i), queue);
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(o.group(""));
        consumer.setNamesrvAddr(namesrv);
        consumer.start();
        o.closing.push(consumer::shutdown);
        o.fact("no offset yet", consumer.fetchConsumeOffset(queue, true));
        long max = consumer.maxOffset(queue);
        long min = consumer.minOffset(queue);
        check(max - min >= 40 && max - min <= 41, min + " to " + max);
        PullResult all = consumer.pull(queue, "*", min, 40, 20_000);
        o.fact("asked for 40", all.getMsgFoundList().size());
        check(all.getNextBeginOffset() == 32 && all.getMinOffset() == min && all.getMaxOffset() == max, "" + all);
        check(consumer.pull(queue, "Even", min, 32, 20_000).getMsgFoundList().stream().allMatch(m -> m.getTags().equals("Even")), "odd ones among the even");
        PullResult none = consumer.pull(queue, "Nobody", min, 32, 20_000);
        o.fact("no match", none.getPullStatus() + " " + (none.getNextBeginOffset() == max));
        PullResult end = consumer.pull(queue, "*", max, 32, 20_000);
        o.fact("at the end", end.getPullStatus() + " " + (end.getNextBeginOffset() - max));
        PullResult beyond = consumer.pull(queue, "*", max + 5, 32, 20_000);
        o.fact("beyond the end", beyond.getPullStatus() + " " + (beyond.getNextBeginOffset() - max));
        o.fact("before the start", codeOf(() -> consumer.pull(queue, "*", -1, 32, 20_000)));
        MessageQueue missing = new MessageQueue(o.topic(), queue.getBrokerName(), 77);
        o.fact("no such queue", codeOf(() -> consumer.pull(missing, "*", 0, 32, 20_000)));
        MessageQueue noTopic = new MessageQueue(o.topic("_none"), queue.getBrokerName(), 0);
        o.fact("no such topic", codeOf(() -> consumer.pull(noTopic, "*", 0, 32, 20_000)));
        o.fact("no such topic's max", codeOf(() -> consumer.maxOffset(noTopic)));
        // A held pull is answered by the next message.
        long started = System.currentTimeMillis();
        CompletableFuture.delayedExecutor(1500, TimeUnit.MILLISECONDS).execute(() -> {
            try {
                producer.send(message(o.topic(), "T", "wake"), queue);
            } catch (Exception e) {
                e.printStackTrace();
            }
        });
        PullResult held = consumer.pullBlockIfNotFound(queue, "*", max, 32);
        long ms = System.currentTimeMillis() - started;
        check(held.getPullStatus() == PullStatus.FOUND && text(held.getMsgFoundList().get(0)).equals("wake"), "" + held);
        check(ms >= 1400 && ms < 4500, "woken after " + ms + " ms");
        o.note("wokenAfterMs", ms);
        // Asynchronous, then offsets that outlive the consumer.
        CompletableFuture<PullResult> later = new CompletableFuture<>();
        consumer.pull(queue, "*", 10, 5, new PullCallback() {
            public void onSuccess(PullResult result) { later.complete(result); }
            public void onException(Throwable e) { later.completeExceptionally(e); }
        }, 20_000);
        o.fact("asked for 5", later.get(20, TimeUnit.SECONDS).getMsgFoundList().size());
        consumer.updateConsumeOffset(queue, 17);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persistAll(Collections.singleton(queue));
        until("the offset to be kept", 10_000, () -> consumer.fetchConsumeOffset(queue, true) == 17);
        o.fact("search at 0", consumer.searchOffset(queue, 0));
        o.fact("search in the future", consumer.searchOffset(queue, System.currentTimeMillis() + 60_000) - consumer.maxOffset(queue));
        MessageExt tenth = all.getMsgFoundList().get(10);
        MessageExt found = consumer.pull(queue, "*", consumer.searchOffset(queue, tenth.getStoreTimestamp()), 1, 20_000).getMsgFoundList().get(0);
        check(found.getStoreTimestamp() == tenth.getStoreTimestamp(), found.getStoreTimestamp() + " is not " + tenth.getStoreTimestamp());
        o.fact("earliest", consumer.earliestMsgStoreTime(queue) == all.getMsgFoundList().get(0).getStoreTimestamp());
    }

    static void litePull(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "l0"));
        for (int i = 1; i < 20; i++) producer.send(message(o.topic(), "T", "l" + i));
        Supplier<DefaultLitePullConsumer> make = () -> {
            DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(o.group(""));
            consumer.setNamesrvAddr(namesrv);
            consumer.setAutoCommit(false);
            consumer.setPullThreadNums(4);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            return consumer;
        };
        DefaultLitePullConsumer one = make.get();
        one.subscribe(o.topic(), "*");
        one.start();
        List<String> got = new ArrayList<>();
        until("20 messages by lite pull", () -> {
            for (MessageExt message : one.poll(500)) got.add(text(message));
            return got.size() >= 20;
        });
        Collections.sort(got);
        check(got.equals(names("l", 0, 20).stream().sorted().collect(Collectors.toList())), "" + got);
        one.commitSync();
        Thread.sleep(200);
        one.shutdown();
        producer.send(message(o.topic(), "T", "l20"));
        DefaultLitePullConsumer two = make.get();
        two.subscribe(o.topic(), "*");
        two.start();
        List<String> rest = new ArrayList<>();
        until("the rest by lite pull", () -> {
            for (MessageExt message : two.poll(500)) rest.add(text(message));
            return !rest.isEmpty();
        });
        o.fact("after the commit", rest);
        two.shutdown();
        // Assigned queues, moved about by hand.
        DefaultLitePullConsumer hand = new DefaultLitePullConsumer(o.group("_assign"));
        hand.setNamesrvAddr(namesrv);
        hand.setAutoCommit(false);
        hand.start();
        o.closing.push(hand::shutdown);
        Collection<MessageQueue> queues = hand.fetchMessageQueues(o.topic());
        hand.assign(queues);
        for (MessageQueue queue : queues) hand.seekToBegin(queue);
        Set<String> again = new TreeSet<>();
        until("21 messages by assignment", () -> {
            for (MessageExt message : hand.poll(500)) again.add(text(message));
            return again.size() >= 21;
        });
        MessageQueue any = queues.iterator().next();
        o.fact("offset of time 0", hand.offsetForTimestamp(any, 0L));
        for (MessageQueue queue : queues) hand.seekToEnd(queue);
        producer.send(message(o.topic(), "T", "l21"));
        Set<String> last = new TreeSet<>();
        until("the message after seekToEnd", () -> {
            for (MessageExt message : hand.poll(500)) last.add(text(message));
            return last.contains("l21");
        });
    }

    static void consumeFrom(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "f0"));
        for (int i = 1; i < 8; i++) producer.send(message(o.topic(), "T", "f" + i));
        Map<ConsumeFromWhere, Inbox> boxes = new LinkedHashMap<>();
        for (ConsumeFromWhere where : Arrays.asList(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP)) {
            Inbox box = new Inbox();
            boxes.put(where, box);
            DefaultMQPushConsumer consumer = consumer(o, o.group(where.name().replace("CONSUME_FROM", "")));
            consumer.setConsumeFromWhere(where);
            consumer.setConsumeTimestamp("20380101000000");
            consumer.subscribe(o.topic(), "*");
            consumer.registerMessageListener(box.concurrently());
            consumer.start();
            // Its queues are assigned, and each one's start is looked up.
            until("queues", () -> consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream().filter(q -> q.getTopic().equals(o.topic())).count() == 4);
        }
        producer.send(message(o.topic(), "T", "live"));
        for (Map.Entry<ConsumeFromWhere, Inbox> entry : boxes.entrySet()) {
            Inbox box = entry.getValue();
            until("the live message", () -> box.bodies().contains("live"));
            // A young topic in memory is given from its start to any new group: the broker answers with offset 0.
            until("the others", () -> box.messages.size() >= 9);
            o.fact(entry.getKey().name(), box.messages.size());
        }
    }

    static void retry(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        SendResult sent = first(producer, message(o.topic(), "T", "again"));
        List<MessageExt> seen = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            seen.addAll(batch);
            context.setDelayLevelWhenNextConsume(1);
            return batch.get(0).getReconsumeTimes() < 2 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        rebalanceUntil(consumer, "three deliveries", () -> seen.size() >= 3);
        for (MessageExt message : seen) {
            check(text(message).equals("again") && message.getTopic().equals(o.topic()), "" + message);
            check(message.getMsgId().equals(sent.getMsgId()), message.getMsgId() + " is not " + sent.getMsgId());
        }
        o.fact("reconsumeTimes", seen.stream().map(MessageExt::getReconsumeTimes).collect(Collectors.toList()));
        MessageExt third = seen.get(2);
        o.fact("properties", keys(third));
        o.fact("RETRY_TOPIC", o.topic().equals(third.getProperty("RETRY_TOPIC")));
        o.fact("REAL_TOPIC", third.getProperty("REAL_TOPIC").replace(o.group(""), "GROUP"));
        o.fact("ORIGIN_MESSAGE_ID", sent.getOffsetMsgId().equals(third.getProperty("ORIGIN_MESSAGE_ID")));
        o.fact("DELAY", third.getProperty("DELAY"));
        o.note("betweenMs", Arrays.asList(seen.get(1).getStoreTimestamp() - seen.get(0).getStoreTimestamp(), third.getStoreTimestamp() - seen.get(1).getStoreTimestamp()));
    }

    /** The retry topic is made by the first heartbeat; without this its queue is taken on only by the next round, up to 20 s later. */
    static void rebalanceUntil(DefaultMQPushConsumer consumer, String what, Condition condition) throws Exception {
        until(what, () -> {
            consumer.getDefaultMQPushConsumerImpl().doRebalance();
            Thread.sleep(300);
            return condition.holds();
        });
    }

    static void dlq(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        SendResult sent = first(producer, message(o.topic(), "T", "poison"));
        AtomicInteger deliveries = new AtomicInteger();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMaxReconsumeTimes(1);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            deliveries.incrementAndGet();
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        rebalanceUntil(consumer, "two deliveries", () -> deliveries.get() >= 2);
        MessageExt dead = readAll("%DLQ%" + o.group(""), 1).get(0);
        check(text(dead).equals("poison"), text(dead));
        check(dead.getMsgId().equals(sent.getMsgId()), "id " + dead.getMsgId());
        o.fact("deliveries", deliveries.get());
        o.fact("reconsumeTimes", dead.getReconsumeTimes());
        o.fact("properties", keys(dead));
        o.fact("DELAY", dead.getProperty("DELAY"));
        o.fact("REAL_TOPIC", dead.getProperty("REAL_TOPIC").replace(o.group(""), "GROUP"));
    }

    static void compressed(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "seed"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        List<String> types = new ArrayList<>(Collections.singleton("ZLIB"));
        Class<?> type = null;
        if (Arrays.stream(DefaultMQProducer.class.getMethods()).anyMatch(m -> m.getName().equals("setCompressType"))) {
            type = Class.forName("org.apache.rocketmq.common.compression.CompressionType");
            types.addAll(Arrays.asList("LZ4", "ZSTD"));
        }
        String body = IntStream.range(0, 2000).mapToObj(i -> "line " + i % 17).collect(Collectors.joining("\n"));
        List<String> wanted = new ArrayList<>(Collections.singleton("seed"));
        for (String name : types) {
            if (type != null) call(producer, "setCompressType", type, type.getMethod("valueOf", String.class).invoke(null, name));
            Message message = message(o.topic(), "T", name + body);
            message.putUserProperty("type", name);
            producer.send(message);
            wanted.add(name + body);
        }
        inbox.await(wanted.size()).assertBodies(wanted);
        for (MessageExt message : inbox.copy()) {
            if (message.getUserProperty("type") == null) continue;
            o.fact("sysFlag " + message.getUserProperty("type"), message.getSysFlag());
            check(message.getStoreSize() < body.length() / 3, message.getStoreSize() + " bytes stored");
        }
    }

    static void bigBody(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        producer.setMaxMessageSize(8 * 1024 * 1024);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        first(producer, message(o.topic(), "T", "seed"));
        byte[] body = new byte[4 * 1024 * 1024];
        new Random(7).nextBytes(body);
        check(producer.send(new Message(o.topic(), body)).getSendStatus() == SendStatus.SEND_OK, "a body of 4 MiB");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(2);
        check(inbox.copy().stream().anyMatch(m -> Arrays.equals(m.getBody(), body)), "the 4 MiB came back otherwise");
        o.fact("one byte more", codeOf(() -> producer.send(new Message(o.topic(), new byte[body.length + 1]))));
        Message wide = message(o.topic(), "T", "wide");
        wide.putUserProperty("wide", new String(new char[33_000]).replace('\0', 'w'));
        o.fact("33,000 bytes of properties", codeOf(() -> producer.send(wide)));
        check(producer.send(message(o.topic(), "T", "after")).getSendStatus() == SendStatus.SEND_OK, "the send after");
    }

    /** What the client itself would not send, straight on its connection. */
    static void refusals(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        SendResult sent = first(producer, message(o.topic(), "T", "seed"));
        String address = sent.getOffsetMsgId() == null ? null : MessageDecoder.decodeMessageId(sent.getOffsetMsgId()).getAddress().toString().replaceAll(".*/", "");
        Map<String, Consumer<SendMessageRequestHeader>> cases = new LinkedHashMap<>();
        cases.put("good", header -> { });
        cases.put("queue 0", header -> header.setQueueId(0));
        cases.put("illegal topic", header -> header.setTopic("bad topic!"));
        cases.put("empty topic", header -> header.setTopic(""));
        cases.put("topic of 128", header -> header.setTopic(new String(new char[128]).replace('\0', 't')));
        cases.put("schedule topic", header -> header.setTopic("SCHEDULE_TOPIC_XXXX"));
        cases.put("half topic", header -> header.setTopic("RMQ_SYS_TRANS_HALF_TOPIC"));
        cases.put("no template", header -> { header.setTopic(prefix + "_never"); header.setDefaultTopic("nothing"); });
        cases.put("queue 99", header -> header.setQueueId(99));
        cases.put("retry of nobody", header -> { header.setTopic("%RETRY%" + prefix + "_nobody"); header.setDefaultTopic("nothing"); header.setQueueId(0); });
        cases.put("cluster topic", header -> header.setTopic("LabCluster"));
        cases.put("dead letters", header -> { header.setTopic("%DLQ%" + prefix + "_nobody"); header.setQueueId(0); });
        cases.forEach((what, change) -> {
            SendMessageRequestHeader header = new SendMessageRequestHeader();
            header.setProducerGroup(o.group("_P"));
            header.setTopic(o.topic());
            header.setDefaultTopic("TBW102");
            header.setDefaultTopicQueueNums(4);
            header.setQueueId(-1);
            header.setSysFlag(0);
            header.setBornTimestamp(System.currentTimeMillis());
            header.setFlag(0);
            header.setProperties("");
            header.setReconsumeTimes(0);
            header.setUnitMode(false);
            header.setBatch(false);
            change.accept(header);
            RemotingCommand request = RemotingCommand.createRequestCommand(10, header);
            request.setBody("raw".getBytes(StandardCharsets.UTF_8));
            ask(o, producer, address, what, request);
        });
        ask(o, producer, address, "unknown code", RemotingCommand.createRequestCommand(9876, null));
        ask(o, producer, address, "consumer list of nobody", withFields(38, "consumerGroup", "nobody"));
        ask(o, producer, address, "offset of nobody", withFields(14, "consumerGroup", "nobody", "topic", "none", "queueId", "0"));
        ask(o, producer, address, "offset update of nobody", withFields(15, "consumerGroup", "nobody", "topic", "none", "queueId", "0", "commitOffset", "1"));
        ask(o, producer, address, "max offset of nothing", withFields(30, "topic", "none", "queueId", "0"));
        ask(o, producer, address, "message at nowhere", withFields(33, "offset", "999999999999"));
        ask(o, producer, address, "send back of nothing", withFields(36, "group", o.group("_P"), "offset", "999999999999", "delayLevel", "1"));
        ask(o, producer, address, "end of no transaction", withFields(37, "producerGroup", "p", "tranStateTableOffset", "0", "commitLogOffset", "999999999999", "commitOrRollback", "8", "fromTransactionCheck", "false", "msgId", "m", "transactionId", "t"));
        ask(o, producer, address, "query without a hit", withFields(12, "topic", o.topic(), "key", "nothing", "maxNum", "10", "beginTimestamp", "0", "endTimestamp", "9999999999999"));
        ask(o, producer, address, "pull of an unknown group's subscription", withFields(11, "consumerGroup", prefix + "_unheard", "topic", o.topic(), "queueId", "0", "queueOffset", "0", "maxMsgNums", "1", "sysFlag", "0", "commitOffset", "0", "suspendTimeoutMillis", "0", "subscription", "*", "subVersion", "0"));
        ask(o, producer, address, "filter server", withFields(301, "filterServerAddr", "127.0.0.1:1"));
        check(producer.send(message(o.topic(), "T", "after")).getSendStatus() == SendStatus.SEND_OK, "the send after");
    }

    static RemotingCommand withFields(int code, String... fields) {
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        HashMap<String, String> map = new HashMap<>();
        for (int i = 0; i < fields.length; i += 2) map.put(fields[i], fields[i + 1]);
        request.setExtFields(map);
        return request;
    }

    static void ask(Outcome o, DefaultMQProducer producer, String address, String what, RemotingCommand request) {
        try {
            RemotingCommand answer = producer.getDefaultMQProducerImpl().getmQClientFactory().getMQClientAPIImpl().getRemotingClient().invokeSync(address, request, 10_000);
            String remark = answer.getRemark();
            // The binary header has no empty strings: Apache stumbles over a field that is not there.
            if (what.equals("empty topic")) o.note(what, answer.getCode());
            else o.fact(what, answer.getCode());
            o.note("remark of " + what, remark == null ? null : remark.split("\n")[0]);
        } catch (Exception e) {
            o.fact(what, e.getClass().getSimpleName());
        }
    }

    static void query(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        long begin = System.currentTimeMillis() - 1000;
        List<SendResult> sent = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            Message message = message(o.topic(), "T", "q" + i);
            message.setKeys(Arrays.asList("order-" + i, "shared-" + i % 3));
            sent.add(producer.send(message));
        }
        awaitRoute(o.topic());
        o.fact("shared", byKey(producer, o.topic(), "shared-1", begin, 4).stream().map(ClientScenarios::text).sorted().collect(Collectors.toList()));
        o.fact("at most 2", producer.queryMessage(o.topic(), "shared-1", 2, begin, System.currentTimeMillis() + 1000).getMessageList().size());
        o.fact("too early", codeOf(() -> producer.queryMessage(o.topic(), "shared-1", 32, begin - 100_000, begin - 50_000).getMessageList().size()));
        o.fact("no such key", codeOf(() -> producer.queryMessage(o.topic(), "nothing", 32, begin, System.currentTimeMillis()).getMessageList().size()));
        SendResult fifth = sent.get(5);
        check(text(producer.viewMessage(o.topic(), fifth.getOffsetMsgId())).equals("q5"), "by offset id");
        check(text(producer.viewMessage(o.topic(), fifth.getMsgId())).equals("q5"), "by unique id");
        check(fifth.getMsgId().equals(producer.viewMessage(o.topic(), fifth.getOffsetMsgId()).getMsgId()), "id of the viewed message");
        String address = fifth.getOffsetMsgId().substring(0, 16);
        o.fact("nowhere", codeOf(() -> producer.viewMessage(o.topic(), address + "000000FFFFFFFFFF")));
        long stored = 0;
        for (MessageQueue queue : producer.fetchPublishMessageQueues(o.topic())) stored += producer.maxOffset(queue) - producer.minOffset(queue);
        // A send that timed out on a busy machine is tried again.
        check(stored >= 12, stored + " messages in the queues");
    }

    static void trace(Outcome o) throws Exception {
        DefaultMQProducer producer = ready(o, new DefaultMQProducer(o.group("_P"), true, null));
        SendResult sent = first(producer, message(o.topic(), "T", "traced"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = prepared(o, new DefaultMQPushConsumer(o.group(""), true, null));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(1);
        Set<String> kinds = new TreeSet<>();
        until("the traces of " + sent.getMsgId(), () -> {
            for (MessageExt message : readAll("RMQ_SYS_TRACE_TOPIC", 1)) {
                for (String record : text(message).split("\u0002")) if (record.contains(sent.getMsgId())) kinds.add(record.split("\u0001")[0]);
            }
            Thread.sleep(300);
            return kinds.size() >= 3;
        });
        o.fact("kinds", kinds);
        byKey(producer, "RMQ_SYS_TRACE_TOPIC", sent.getMsgId(), 0, 1);
    }

    static void requestReply(Outcome o) throws Exception {
        DefaultMQProducer asker = producer(o);
        DefaultMQProducer replier = ready(o, new DefaultMQProducer(o.group("_R")));
        first(asker, message(o.topic(), "T", "seed"));
        AtomicReference<MessageExt> asked = new AtomicReference<>();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.subscribe(o.topic(), "ask");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            for (MessageExt message : batch) {
                try {
                    asked.set(message);
                    Message reply = MessageUtil.createReplyMessage(message, ("answer to " + text(message)).getBytes(StandardCharsets.UTF_8));
                    SendResult result = replier.send(reply, 10_000);
                    o.fact("status of the reply", result.getSendStatus().name());
                } catch (Exception e) {
                    e.printStackTrace();
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        long started = System.currentTimeMillis();
        Message answer = request(asker, message(o.topic(), "ask", "one"));
        o.note("ms of the first", System.currentTimeMillis() - started);
        check(new String(answer.getBody(), StandardCharsets.UTF_8).equals("answer to one"), "" + answer);
        started = System.currentTimeMillis();
        answer = request(asker, message(o.topic(), "ask", "two"));
        o.note("ms of the second", System.currentTimeMillis() - started);
        check(new String(answer.getBody(), StandardCharsets.UTF_8).equals("answer to two"), "" + answer);
        o.fact("properties of the request", keys(asked.get()));
        o.fact("properties of the reply", keys(answer));
        o.fact("nobody answers", codeOf(() -> asker.request(message(o.topic(), "T", "three"), 1500)));
    }

    /** `request` of 5.3.3 stops waiting once the question is sent; what it does otherwise is done here by hand. */
    static Message request(DefaultMQProducer producer, Message question) throws Exception {
        // The broker must know the asker: a heartbeat comes with the first question to a topic only, and by the clock; one
        // that meets another is dropped.
        Thread.sleep(100);
        producer.getDefaultMQProducerImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLock();
        if (!has(RequestResponseFuture.class, "acquireCountDownLatch")) {
            for (int attempt = 1; ; attempt++) {
                try {
                    return producer.request(question, 8000);
                } catch (RequestTimeoutException e) {
                    if (attempt == 3) throw e;
                    question = new Message(question.getTopic(), question.getTags(), question.getBody());
                }
            }
        }
        String id = UUID.randomUUID().toString();
        MessageAccessor.putProperty(question, "CORRELATION_ID", id);
        MessageAccessor.putProperty(question, "REPLY_TO_CLIENT", producer.getDefaultMQProducerImpl().getmQClientFactory().getClientId());
        MessageAccessor.putProperty(question, "TTL", "30000");
        RequestResponseFuture future = new RequestResponseFuture(id, 30_000, null);
        RequestFutureHolder.getInstance().getRequestFutureTable().put(id, future);
        producer.send(question);
        Message answer = future.waitResponseMessage(30_000);
        check(answer != null, "no reply in 30 s");
        return answer;
    }

    static void resetOffset(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "r0"));
        for (int i = 1; i < 12; i++) producer.send(message(o.topic(), "T", "r" + i));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(12);
        consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("admin_" + prefix);
        admin.start();
        o.closing.push(admin::shutdown);
        Map<MessageQueue, Long> offsets = admin.resetOffsetByTimestamp(o.topic(), o.group(""), 0, true);
        o.fact("queues", offsets.size());
        o.fact("offsets", offsets.values().stream().distinct().collect(Collectors.toList()));
        // Held pulls look again when something comes; one message for each queue.
        for (MessageQueue queue : producer.fetchPublishMessageQueues(o.topic())) producer.send(message(o.topic(), "T", "wake" + queue.getQueueId()), queue);
        List<String> all = names("r", 0, 12);
        rebalanceUntil(consumer, "the messages again", () -> all.stream().allMatch(body -> Collections.frequency(inbox.bodies(), body) >= 2));
        o.note("deliveries", inbox.messages.size());
        // And forward: what stands in the queue is skipped.
        consumer.suspend();
        o.fact("skip", codeOf(() -> admin.resetOffsetByTimestamp(o.topic(), o.group(""), System.currentTimeMillis() + 1000, true).size()));
        o.fact("unknown topic", codeOf(() -> admin.resetOffsetByTimestamp(o.topic("_none"), o.group(""), 0, true).size()));
    }

    static List<Integer> held(DefaultMQPushConsumer consumer, String topic) {
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(q -> q.getTopic().equals(topic)).map(MessageQueue::getQueueId).sorted().collect(Collectors.toList());
    }

    static void rebalance(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "s0"));
        Inbox inbox = new Inbox();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = consumer(o, o.group(""));
            consumer.setInstanceName(prefix + o.name + i);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(o.topic(), "*");
            consumer.registerMessageListener(inbox.concurrently());
            consumers.add(consumer);
        }
        DefaultMQPushConsumer a = consumers.get(0);
        DefaultMQPushConsumer b = consumers.get(1);
        AtomicBoolean sending = new AtomicBoolean(true);
        AtomicInteger sent = new AtomicInteger(1);
        Thread sender = new Thread(() -> {
            while (sending.get()) {
                try {
                    producer.send(message(o.topic(), "T", "s" + sent.get()));
                    sent.incrementAndGet();
                    Thread.sleep(20);
                } catch (Exception e) {
                    e.printStackTrace();
                }
            }
        });
        a.start();
        until("all queues for the first", () -> held(a, o.topic()).size() == 4);
        sender.start();
        // By the broker's word, before the client's own round of 10 s.
        long started = System.currentTimeMillis();
        b.start();
        until("two queues each", 7_000, () -> held(a, o.topic()).equals(Arrays.asList(0, 1)) && held(b, o.topic()).equals(Arrays.asList(2, 3)));
        o.note("msToShare", System.currentTimeMillis() - started);
        Thread.sleep(500);
        started = System.currentTimeMillis();
        b.shutdown();
        until("all queues for the one that is left", 7_000, () -> held(a, o.topic()).size() == 4);
        o.note("msToTakeBack", System.currentTimeMillis() - started);
        sending.set(false);
        sender.join();
        List<String> wanted = names("s", 0, sent.get());
        until("every message", () -> new HashSet<>(inbox.bodies()).containsAll(wanted));
        o.note("sent", sent.get());
        o.note("twice", inbox.messages.size() - wanted.size());
        check(new HashSet<>(inbox.bodies()).size() == wanted.size(), "messages nobody sent");
    }

    static void consumerRestart(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "c0"));
        for (int i = 1; i < 20; i++) producer.send(message(o.topic(), "T", "c" + i));
        Inbox one = consumeOnce(o, 20);
        one.assertBodies(names("c", 0, 20));
        for (int i = 20; i < 25; i++) producer.send(message(o.topic(), "T", "c" + i));
        consumeOnce(o, 5).assertBodies(names("c", 20, 25));
    }

    /** A consumer that lives until it has had so many messages. */
    static Inbox consumeOnce(Outcome o, int count) throws Exception {
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(o.group(""));
        consumer.setNamesrvAddr(namesrv);
        consumer.setHeartbeatBrokerInterval(2000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(count);
        Thread.sleep(300);
        // Keeps its offsets on the way out.
        consumer.shutdown();
        return inbox;
    }

    static void roundTrip(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "seed"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        byte[] body = new byte[512];
        for (int i = 0; i < body.length; i++) body[i] = (byte) i;
        String words = "gr\u00fc\u00df \u4f60\u597d \ud83d\ude00 \"quoted\" {json} \\ back";
        Message message = new Message(o.topic(), body);
        message.setTags("T\u00e4g\u4f60");
        message.setKeys(Arrays.asList("k\u00e9y1", "key2"));
        message.setFlag(-12345);
        message.setBuyerId("buyer");
        message.setWaitStoreMsgOK(false);
        message.putUserProperty("words", words);
        message.putUserProperty("w\u00f6rd", "name");
        for (int i = 0; i < 60; i++) message.putUserProperty("p" + i, "value " + i);
        long before = System.currentTimeMillis();
        SendResult sent = producer.send(message);
        long after = System.currentTimeMillis();
        inbox.await(2);
        for (MessageExt got : Arrays.asList(
            inbox.copy().stream().filter(m -> m.getUserProperty("words") != null).findFirst().get(),
            producer.viewMessage(o.topic(), sent.getOffsetMsgId()))) {
            check(Arrays.equals(got.getBody(), body), "another body");
            check(got.getFlag() == -12345 && got.getTags().equals("T\u00e4g\u4f60") && got.getKeys().equals("k\u00e9y1 key2"), "" + got);
            check(words.equals(got.getUserProperty("words")) && "name".equals(got.getUserProperty("w\u00f6rd")) && "buyer".equals(got.getBuyerId()), "" + got);
            for (int i = 0; i < 60; i++) check(("value " + i).equals(got.getUserProperty("p" + i)), "p" + i);
            check(got.getBornTimestamp() >= before && got.getBornTimestamp() <= after, "born at " + got.getBornTimestamp());
            check(got.getStoreTimestamp() >= before - 5 && got.getStoreTimestamp() <= after + 5, "stored at " + got.getStoreTimestamp());
            check(got.getQueueOffset() == sent.getQueueOffset() && got.getQueueId() == sent.getMessageQueue().getQueueId(), "" + got);
            check(got.getBrokerName() == null || got.getBrokerName().equals(sent.getMessageQueue().getBrokerName()), "" + got.getBrokerName());
            check(got.getReconsumeTimes() == 0 && got.getPreparedTransactionOffset() == 0, "" + got);
            o.fact("properties", keys(got).stream().filter(k -> !k.startsWith("p")).collect(Collectors.toList()));
        }
    }

    static void namespace(Outcome o) throws Exception {
        String space = "space" + prefix;
        DefaultMQProducer producer = ready(o, new DefaultMQProducer(space, o.group("_P")));
        producer.send(message(o.topic(), "T", "n0"));
        awaitRoute(space + "%" + o.topic());
        List<MessageExt> seen = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = prepared(o, new DefaultMQPushConsumer(space, o.group("")));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            seen.addAll(batch);
            context.setDelayLevelWhenNextConsume(1);
            return text(batch.get(0)).equals("n0") && batch.get(0).getReconsumeTimes() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        producer.send(message(o.topic(), "T", "n1"));
        rebalanceUntil(consumer, "three deliveries", () -> seen.size() >= 3);
        o.fact("topics", seen.stream().map(m -> m.getTopic().replace(prefix, "P")).distinct().collect(Collectors.toList()));
        o.fact("bodies", seen.stream().map(ClientScenarios::text).sorted().collect(Collectors.toList()));
    }

    static void vip(Outcome o) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(o.group("_P"));
        producer.setVipChannelEnabled(true);
        ready(o, producer);
        first(producer, message(o.topic(), "T", "v0"));
        for (int i = 1; i < 5; i++) producer.send(message(o.topic(), "T", "v" + i));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setVipChannelEnabled(true);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(5).assertBodies(names("v", 0, 5));
        MessageQueue queue = producer.fetchPublishMessageQueues(o.topic()).get(0);
        o.fact("max offset", producer.maxOffset(queue) >= 0);
    }

    /** A client that signs its requests, at a broker that asks for no signatures. */
    static void credentials(Outcome o) throws Exception {
        AclClientRPCHook hook = new AclClientRPCHook(new SessionCredentials("accessKey", "a secret of some length"));
        DefaultMQProducer producer = ready(o, new DefaultMQProducer(o.group("_P"), hook));
        first(producer, message(o.topic(), "T", "a0"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = prepared(o, new DefaultMQPushConsumer(o.group(""), hook, new AllocateMessageQueueAveragely()));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        for (int i = 1; i < 5; i++) producer.send(message(o.topic(), "T", "a" + i));
        inbox.await(5).assertBodies(names("a", 0, 5));
        o.fact("properties", keys(inbox.copy().get(0)));
    }

    /** 5.x may gather single sends into batches by itself. */
    static void autoBatch(Outcome o) throws Exception {
        if (!has(DefaultMQProducer.class, "setAutoBatch", boolean.class)) return;
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "T", "g0"));
        call(producer, "setAutoBatch", boolean.class, true);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "T");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<SendResult>> sends = new ArrayList<>();
        for (String body : names("g", 1, 41)) sends.add(pool.submit(() -> producer.send(message(o.topic(), "T", body))));
        for (Future<SendResult> send : sends) check(send.get().getSendStatus() == SendStatus.SEND_OK, "" + send.get());
        pool.shutdown();
        inbox.await(41).assertBodies(names("g", 0, 41));
    }

    /** Topics made by the client's own word, with more queues than sends would make. */
    static void topics(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        if (has(DefaultMQProducer.class, "createTopic", String.class, String.class, int.class, Map.class)) {
            DefaultMQProducer.class.getMethod("createTopic", String.class, String.class, int.class, Map.class).invoke(producer, "TBW102", o.topic(), 8, new HashMap<String, String>());
        } else {
            DefaultMQProducer.class.getMethod("createTopic", String.class, String.class, int.class).invoke(producer, "TBW102", o.topic(), 8);
        }
        awaitRoute(o.topic());
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(o.topic());
        o.fact("queues", queues.stream().map(MessageQueue::getQueueId).sorted().collect(Collectors.toList()));
        for (MessageQueue queue : queues) {
            SendResult result = producer.send(message(o.topic(), "T", "t" + queue.getQueueId()), queue);
            check(result.getMessageQueue().equals(queue) && result.getQueueOffset() == 0, "" + result);
        }
        check(readAll(o.topic(), 8).size() == 8, "eight messages");
    }

    /** Subscriptions that change while the consumer runs, and a consumer that pauses. */
    static void subscriptions(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        first(producer, message(o.topic(), "A", "A0"));
        first(producer, message(o.topic("_more"), "A", "M0"));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group(""));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "A || B");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(1);
        consumer.subscribe(o.topic("_more"), "*");
        rebalanceUntil(consumer, "the new topic", () -> inbox.bodies().contains("M0"));
        producer.send(message(o.topic(), "C", "C1"));
        producer.send(message(o.topic(), "B", "B1"));
        until("the other tag", () -> inbox.bodies().contains("B1"));
        consumer.unsubscribe(o.topic("_more"));
        consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLock();
        rebalanceUntil(consumer, "the queues to go", () -> held(consumer, o.topic("_more")).isEmpty());
        producer.send(message(o.topic("_more"), "A", "M1"));
        consumer.suspend();
        Thread.sleep(1500);
        producer.send(message(o.topic(), "B", "B2"));
        Thread.sleep(1000);
        o.note("seen while it paused", inbox.bodies().contains("B2"));
        consumer.resume();
        until("the message of the pause", () -> inbox.bodies().contains("B2"));
        inbox.assertBodies(Arrays.asList("A0", "M0", "B1", "B2"));
    }

    /** Topics, groups, offsets, delayed messages and running clients go on over a restart of the broker. */
    static void restart(Outcome o) throws Exception {
        DefaultMQProducer producer = producer(o);
        producer.setRetryTimesWhenSendFailed(5);
        first(producer, message(o.topic(), "T", "c0"));
        for (int i = 1; i < 12; i++) producer.send(message(o.topic(), "T", "c" + i));
        consumeOnce(o, 12).assertBodies(names("c", 0, 12));
        Inbox running = new Inbox();
        DefaultMQPushConsumer consumer = consumer(o, o.group("_running"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.topic(), "*");
        consumer.registerMessageListener(running.concurrently());
        consumer.start();
        running.await(12);
        Message delayed = message(o.topic(), "T", "delayed");
        delayed.setDelayTimeLevel(2);
        producer.send(delayed);
        Thread.sleep(500);
        print("@@ASK restart");
        until("the broker to be restarted", () -> new File(answers, "restart").exists());
        List<String> wanted = names("c", 12, 18);
        AtomicInteger next = new AtomicInteger(12);
        until("sends after the restart", () -> {
            while (next.get() < 18) {
                try {
                    producer.send(message(o.topic(), "T", "c" + next.get()));
                    next.incrementAndGet();
                } catch (MQClientException | MQBrokerException e) {
                    Thread.sleep(300);
                    return false;
                }
            }
            return true;
        });
        wanted.add("delayed");
        until("the running consumer to go on", () -> running.bodies().containsAll(wanted));
        Inbox fresh = consumeOnce(o, 7);
        check(new HashSet<>(fresh.bodies()).equals(new HashSet<>(wanted)), "after the restart came " + fresh.bodies());
        // Delivered late messages may come twice: their progress is kept every 10 s.
        o.note("seen after", fresh.bodies());
        o.note("seen by the running one", running.messages.size());
    }
}
