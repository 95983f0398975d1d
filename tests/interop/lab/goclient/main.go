// The real Go client as applications use it: the scenarios of ClientScenarios.java that it has, with its lines of output:
// `@@ {"scenario", "ok", "facts", "notes"}`, where facts must be the same against any broker.
//
//	goclient NAMESRV PREFIX ANSWERS_DIR SCENARIO,...|all
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const limit = 60 * time.Second

var (
	namesrv string
	prefix  string
	out     sync.Mutex
)

var all = []struct {
	name string
	play func(*outcome)
}{
	{"transaction", transaction},
	{"retry", retry},
	{"delayLevels", delayLevels},
	{"quickStart", quickStart},
	{"tagFilter", tagFilter},
	{"sqlFilter", sqlFilter},
	{"ordered", ordered},
	{"batch", batch},
	{"broadcast", broadcast},
	{"pullConsumer", pullConsumer},
	{"requestReply", requestReply},
	{"compressed", compressed},
	{"consumerRestart", consumerRestart},
}

type outcome struct {
	sync.Mutex
	name  string
	facts map[string]any
	notes map[string]any
}

func (o *outcome) fact(key string, value any) { o.Lock(); o.facts[key] = value; o.Unlock() }
func (o *outcome) note(key string, value any) { o.Lock(); o.notes[key] = value; o.Unlock() }
func (o *outcome) topic() string              { return prefix + "_" + o.name }
func (o *outcome) group(suffix string) string { return "G_" + prefix + "_" + o.name + suffix }

func main() {
	rlog.SetLogLevel("error")
	namesrv, prefix = os.Args[1], os.Args[2]
	wanted := map[string]bool{}
	for _, name := range strings.Split(os.Args[4], ",") {
		wanted[name] = true
	}
	var group sync.WaitGroup
	slots := make(chan bool, 6)
	for _, each := range all {
		one := each
		if !wanted["all"] && !wanted[one.name] {
			continue
		}
		group.Add(1)
		go func() {
			slots <- true
			play(one.name, one.play)
			<-slots
			group.Done()
		}()
	}
	group.Wait()
}

func play(name string, scenario func(*outcome)) {
	o := &outcome{name: name, facts: map[string]any{}, notes: map[string]any{}}
	started := time.Now()
	ok := true
	func() {
		defer func() {
			if problem := recover(); problem != nil {
				ok = false
				o.note("error", fmt.Sprint(problem))
			}
		}()
		scenario(o)
	}()
	o.note("ms", time.Since(started).Milliseconds())
	o.Lock()
	line, err := json.Marshal(map[string]any{"scenario": name, "ok": ok, "facts": o.facts, "notes": o.notes})
	o.Unlock()
	must(err)
	out.Lock()
	fmt.Println("@@ " + string(line))
	out.Unlock()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(condition bool, what string, values ...any) {
	if !condition {
		panic(fmt.Sprintf(what, values...))
	}
}

func until(what string, condition func() bool) {
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(20 * time.Millisecond) {
		check(time.Now().Before(deadline), "waited %v for %s", limit, what)
	}
}

func names(prefix string, from, to int) []string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprint(prefix, i))
	}
	return list
}

func keys(message *primitive.Message) []string {
	var list []string
	for key := range message.GetProperties() {
		list = append(list, key)
	}
	sort.Strings(list)
	return list
}

// resolver of the one NameServer.
func resolver() primitive.NsResolver { return primitive.NewPassthroughResolver([]string{namesrv}) }

func newProducer(o *outcome, options ...producer.Option) rocketmq.Producer {
	p, err := rocketmq.NewProducer(append([]producer.Option{
		producer.WithNsResolver(resolver()),
		producer.WithGroupName(o.group("_P")),
		producer.WithInstanceName(o.group("_P")),
		producer.WithSendMsgTimeout(15 * time.Second),
		producer.WithRetry(2),
	}, options...)...)
	must(err)
	must(p.Start())
	return p
}

// first sends the message that makes the topic, and waits until others find it.
func first(p rocketmq.Producer, message *primitive.Message) *primitive.SendResult {
	var result *primitive.SendResult
	until("the first send", func() bool {
		var err error
		result, err = p.SendSync(context.Background(), message)
		return err == nil
	})
	time.Sleep(300 * time.Millisecond)
	return result
}

type inbox struct {
	sync.Mutex
	messages []*primitive.MessageExt
	at       map[string]time.Time
}

func (box *inbox) take(messages ...*primitive.MessageExt) {
	box.Lock()
	defer box.Unlock()
	for _, message := range messages {
		box.messages = append(box.messages, message)
		if box.at == nil {
			box.at = map[string]time.Time{}
		}
		box.at[string(message.Body)] = time.Now()
	}
}

func (box *inbox) bodies() []string {
	box.Lock()
	defer box.Unlock()
	var list []string
	for _, message := range box.messages {
		list = append(list, string(message.Body))
	}
	return list
}

func (box *inbox) await(wanted []string) *inbox {
	until(fmt.Sprint(len(wanted), " messages"), func() bool { return len(box.bodies()) >= len(wanted) })
	got, sorted := box.bodies(), append([]string(nil), wanted...)
	sort.Strings(got)
	sort.Strings(sorted)
	check(fmt.Sprint(got) == fmt.Sprint(sorted), "got %v, wanted %v", got, sorted)
	return box
}

func (box *inbox) find(body string) *primitive.MessageExt {
	box.Lock()
	defer box.Unlock()
	for _, message := range box.messages {
		if string(message.Body) == body {
			return message
		}
	}
	panic("no message " + body)
}

type listener = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

func (box *inbox) listener() listener {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		box.take(messages...)
		return consumer.ConsumeSuccess, nil
	}
}

func push(o *outcome, suffix string, selector consumer.MessageSelector, listen listener, options ...consumer.Option) rocketmq.PushConsumer {
	c, err := rocketmq.NewPushConsumer(append([]consumer.Option{
		consumer.WithNsResolver(resolver()),
		consumer.WithGroupName(o.group(suffix)),
		consumer.WithInstance(o.group(suffix)),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)...)
	must(err)
	must(c.Subscribe(o.topic(), selector, listen))
	must(c.Start())
	return c
}

func text(o *outcome, tag, body string) *primitive.Message {
	return primitive.NewMessage(o.topic(), []byte(body)).WithTag(tag)
}

func send(p rocketmq.Producer, messages ...*primitive.Message) *primitive.SendResult {
	result, err := p.SendSync(context.Background(), messages...)
	must(err)
	check(result.Status == primitive.SendOK, "%v", result)
	return result
}

func quickStart(o *outcome) {
	p := newProducer(o)
	result := first(p, text(o, "T", "m0"))
	o.fact("region", result.RegionID)
	box := &inbox{}
	push(o, "", consumer.MessageSelector{}, box.listener())
	for _, body := range names("m", 1, 11) {
		send(p, text(o, "T", body))
	}
	var latch sync.WaitGroup
	latch.Add(10)
	for _, body := range names("m", 11, 21) {
		must(p.SendAsync(context.Background(), func(_ context.Context, _ *primitive.SendResult, err error) {
			must(err)
			latch.Done()
		}, text(o, "T", body)))
	}
	latch.Wait()
	for _, body := range names("m", 21, 31) {
		must(p.SendOneWay(context.Background(), text(o, "T", body)))
	}
	box.await(names("m", 0, 31))
	zero := box.find("m0")
	check(zero.MsgId == result.MsgID, "%s is not %s", zero.MsgId, result.MsgID)
	o.fact("properties", keys(&zero.Message))
	must(p.Shutdown())
}

func tagFilter(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "A", "A0"))
	box := &inbox{}
	push(o, "", consumer.MessageSelector{Type: consumer.TAG, Expression: "A || C"}, box.listener())
	for _, tag := range []string{"A", "B", "C"} {
		for i := 1; i < 5; i++ {
			send(p, text(o, tag, fmt.Sprint(tag, i)))
		}
	}
	box.await(append(names("A", 0, 5), names("C", 1, 5)...))
}

func sqlFilter(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "T", "seed"))
	box := &inbox{}
	push(o, "", consumer.MessageSelector{Type: consumer.SQL92, Expression: "(num > 5 AND color = 'red') OR num IS NULL"}, box.listener())
	wanted := []string{"seed"}
	for i := 1; i < 15; i++ {
		message := text(o, "T", fmt.Sprint(i))
		message.WithProperty("num", fmt.Sprint(i))
		message.WithProperty("color", []string{"red", "blue"}[i%2])
		send(p, message)
		if i > 5 && i%2 == 0 {
			wanted = append(wanted, fmt.Sprint(i))
		}
	}
	box.await(wanted)
}

func ordered(o *outcome) {
	p := newProducer(o, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	var lock sync.Mutex
	seen := map[string][]int{}
	count := 0
	for i := 0; i < 25; i++ {
		for key := 0; key < 4; key++ {
			message := text(o, "T", fmt.Sprint(key, ":", i)).WithShardingKey(fmt.Sprint("key", key))
			if i == 0 && key == 0 {
				first(p, message)
			} else {
				send(p, message)
			}
		}
		if i == 2 {
			push(o, "", consumer.MessageSelector{}, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
				lock.Lock()
				defer lock.Unlock()
				for _, message := range messages {
					var key, n int
					_, err := fmt.Sscanf(string(message.Body), "%d:%d", &key, &n)
					must(err)
					seen[fmt.Sprint(key)] = append(seen[fmt.Sprint(key)], n)
					count++
				}
				return consumer.ConsumeSuccess, nil
			}, consumer.WithConsumerOrder(true))
		}
	}
	until("100 ordered messages", func() bool { lock.Lock(); defer lock.Unlock(); return count >= 100 })
	lock.Lock()
	defer lock.Unlock()
	for key, numbers := range seen {
		check(len(numbers) == 25 && sort.IntsAreSorted(numbers), "key %s came as %v", key, numbers)
	}
}

func delayLevels(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "T", "now"))
	box := &inbox{}
	push(o, "", consumer.MessageSelector{}, box.listener())
	sent := map[string]time.Time{}
	for level := 1; level <= 2; level++ {
		message := text(o, "T", fmt.Sprint("level", level)).WithDelayTimeLevel(level)
		sent[fmt.Sprint("level", level)] = time.Now()
		send(p, message)
	}
	box.await([]string{"now", "level1", "level2"})
	for body, delay := range map[string]time.Duration{"level1": time.Second, "level2": 5 * time.Second} {
		late := box.at[body].Sub(sent[body]) - delay
		o.note("lateMs "+body, late.Milliseconds())
		check(late > -20*time.Millisecond && late < 4*time.Second, "%s came %v late", body, late)
	}
	o.fact("properties", keys(&box.find("level1").Message))
}

type decisions struct {
	sync.Mutex
	checked map[string]int
}

func (d *decisions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	return map[string]primitive.LocalTransactionState{
		"commit": primitive.CommitMessageState, "rollback": primitive.RollbackMessageState, "last": primitive.CommitMessageState,
	}[string(message.Body)]
}

func (d *decisions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	d.Lock()
	defer d.Unlock()
	d.checked[string(message.Body)]++
	if strings.HasSuffix(strings.ToLower(string(message.Body)), "rollback") {
		return primitive.RollbackMessageState
	}
	return primitive.CommitMessageState
}

func transaction(o *outcome) {
	plain := newProducer(o)
	first(plain, text(o, "T", "plain"))
	box := &inbox{}
	push(o, "", consumer.MessageSelector{}, box.listener())
	listener := &decisions{checked: map[string]int{}}
	p, err := rocketmq.NewTransactionProducer(listener,
		producer.WithNsResolver(resolver()), producer.WithGroupName(o.group("_T")), producer.WithInstanceName(o.group("_T")), producer.WithRetry(2))
	must(err)
	must(p.Start())
	end := func(body string) {
		result, err := p.SendMessageInTransaction(context.Background(), text(o, "T", body))
		must(err)
		o.fact("state "+body, int(result.State))
	}
	for _, body := range []string{"commit", "rollback", "checkCommit", "checkRollback"} {
		end(body)
	}
	until("the check of checkRollback", func() bool {
		listener.Lock()
		defer listener.Unlock()
		return listener.checked["checkRollback"] > 0
	})
	until("checkCommit", func() bool { return len(box.bodies()) >= 3 })
	end("last")
	box.await([]string{"plain", "commit", "checkCommit", "last"})
	o.fact("properties", keys(&box.find("checkCommit").Message))
}

func batch(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "T", "b0"))
	box := &inbox{}
	push(o, "", consumer.MessageSelector{}, box.listener())
	var messages []*primitive.Message
	for _, body := range names("b", 1, 21) {
		messages = append(messages, text(o, "T", body))
	}
	send(p, messages...)
	box.await(names("b", 0, 21))
}

func broadcast(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "T", "x0"))
	boxes := []*inbox{{}, {}}
	for i, box := range boxes {
		push(o, "", consumer.MessageSelector{}, box.listener(),
			consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithInstance(o.group(fmt.Sprint(i))))
	}
	time.Sleep(time.Second)
	for _, body := range names("x", 1, 11) {
		send(p, text(o, "T", body))
	}
	for _, box := range boxes {
		until("10 broadcast messages", func() bool {
			have := map[string]bool{}
			for _, body := range box.bodies() {
				have[body] = true
			}
			delete(have, "x0")
			return len(have) == 10
		})
	}
}

func retry(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "T", "seed"))
	// A first consumer's heartbeat makes the retry topic; the client would look for its queue again only after 20 s or more.
	seeds := &inbox{}
	early := push(o, "", consumer.MessageSelector{}, seeds.listener())
	seeds.await([]string{"seed"})
	time.Sleep(500 * time.Millisecond)
	must(early.Shutdown())
	result := send(p, text(o, "T", "again"))
	var lock sync.Mutex
	var times []int32
	var last *primitive.MessageExt
	listen := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		if concurrently, found := primitive.GetConcurrentlyCtx(ctx); found {
			concurrently.DelayLevelWhenNextConsume = 1
		}
		times = append(times, messages[0].ReconsumeTimes)
		last = messages[0]
		if messages[0].ReconsumeTimes < 1 {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	}
	push(o, "", consumer.MessageSelector{}, listen, consumer.WithInstance(o.group("_late")))
	until("two deliveries", func() bool { lock.Lock(); defer lock.Unlock(); return len(times) >= 2 })
	lock.Lock()
	defer lock.Unlock()
	o.fact("times", times)
	o.fact("topic", last.Topic == o.topic())
	check(last.MsgId == result.MsgID, "%s is not %s", last.MsgId, result.MsgID)
	o.fact("properties", keys(&last.Message))
}

func pullConsumer(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "T", "p0"))
	for _, body := range names("p", 1, 30) {
		send(p, text(o, "T", body))
	}
	c, err := rocketmq.NewPullConsumer(
		consumer.WithNsResolver(resolver()), consumer.WithGroupName(o.group("")), consumer.WithInstance(o.group("")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	must(err)
	must(c.Subscribe(o.topic(), consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}))
	must(c.Start())
	box := &inbox{}
	until("30 messages by polls", func() bool {
		request, err := c.Poll(context.Background(), time.Second)
		if err == nil {
			box.take(request.GetMsgList()...)
			c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		}
		return len(box.bodies()) >= 30
	})
	box.await(names("p", 0, 30))
	queue := box.find("p7").Queue
	result, err := c.PullFrom(context.Background(), queue, 0, 5)
	must(err)
	o.fact("pull", fmt.Sprint(result.Status, " ", result.NextBeginOffset, " ", len(result.GetMessageExts())))
	must(c.Shutdown())
}

func requestReply(o *outcome) {
	asker := newProducer(o)
	replier := newProducer(o, producer.WithGroupName(o.group("_R")), producer.WithInstanceName(o.group("_R")))
	first(asker, text(o, "T", "seed"))
	push(o, "", consumer.MessageSelector{Type: consumer.TAG, Expression: "ask"}, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			reply := primitive.NewMessage(message.GetProperty("CLUSTER")+"_REPLY_TOPIC", append([]byte("answer to "), message.Body...))
			reply.WithProperty("MSG_TYPE", "reply")
			for _, key := range []string{"CORRELATION_ID", "REPLY_TO_CLIENT", "TTL"} {
				reply.WithProperty(key, message.GetProperty(key))
			}
			_, err := replier.SendSync(context.Background(), reply)
			must(err)
		}
		return consumer.ConsumeSuccess, nil
	})
	var answer *primitive.Message
	until("an answer", func() bool {
		var err error
		answer, err = asker.Request(context.Background(), 3*time.Second, text(o, "ask", "one"))
		if err != nil {
			o.note("first try", err.Error())
		}
		return err == nil
	})
	check(string(answer.Body) == "answer to one", "%s", answer.Body)
	o.fact("properties", keys(answer))
}

func compressed(o *outcome) {
	p := newProducer(o, producer.WithCompressMsgBodyOverHowmuch(1024), producer.WithCompressLevel(5))
	first(p, text(o, "T", "seed"))
	box := &inbox{}
	push(o, "", consumer.MessageSelector{}, box.listener())
	body := strings.Repeat("some line of a text\n", 2000)
	send(p, text(o, "T", body))
	box.await([]string{"seed", body})
	got := box.find(body)
	check(got.StoreSize < int32(len(body)/3), "%d bytes stored", got.StoreSize)
	o.fact("sysFlag", got.SysFlag)
}

func consumerRestart(o *outcome) {
	p := newProducer(o)
	first(p, text(o, "T", "c0"))
	for _, body := range names("c", 1, 10) {
		send(p, text(o, "T", body))
	}
	one := &inbox{}
	c := push(o, "", consumer.MessageSelector{}, one.listener())
	one.await(names("c", 0, 10))
	time.Sleep(300 * time.Millisecond)
	must(c.Shutdown())
	for _, body := range names("c", 10, 15) {
		send(p, text(o, "T", body))
	}
	two := &inbox{}
	push(o, "", consumer.MessageSelector{}, two.listener(), consumer.WithInstance(o.group("_again")))
	two.await(names("c", 10, 15))
}
