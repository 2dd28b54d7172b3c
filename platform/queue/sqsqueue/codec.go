package sqsqueue

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
)

const (
	// binaryMark begins the body of a message whose content SQS would not take as it is: empty, not in its character set, or
	// itself beginning with the mark. Base64 follows. An attribute to say so does not fit beside ten others, and anybody else's
	// text (Step Functions sends JSON) needs no mark.
	binaryMark = "base64:"
	// ownDedup begins deduplication ids that this package made.
	ownDedup = "rp-own-"
	// traceHeader is the system attribute that carries the trace to X-Ray:
	// https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html
	traceHeader = "AWSTraceHeader"
	traceparent = "traceparent"
	tracestate  = "tracestate"
	stringType  = "String"
)

// encodeBody makes content into text that SQS takes.
func encodeBody(body []byte) string {
	if len(body) > 0 && isLegal(body) && !strings.HasPrefix(string(body), binaryMark) {
		return string(body)
	}
	return binaryMark + base64.StdEncoding.EncodeToString(body)
}

// decodeBody undoes encodeBody.
func decodeBody(text string) ([]byte, error) {
	encoded, binary := strings.CutPrefix(text, binaryMark)
	if !binary {
		return []byte(text), nil
	}
	body, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fault.Wrap(fault.DataLoss, err, "read body of message")
	}
	return body, nil
}

// isLegal says whether SQS takes the text: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
func isLegal(text []byte) bool {
	if !utf8.Valid(text) {
		return false
	}
	for _, c := range string(text) {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xFFFE || c == 0xFFFF {
			return false
		}
	}
	return true
}

// encode makes an entry of a batch, still without the id that it has in there.
func encode(m queue.Message) types.SendMessageBatchRequestEntry {
	e := types.SendMessageBatchRequestEntry{
		MessageBody:            aws.String(encodeBody(m.Body)),
		MessageGroupId:         aws.String(m.Group),
		MessageDeduplicationId: aws.String(m.DedupID),
	}
	if m.DedupID == "" {
		e.MessageDeduplicationId = aws.String(ownDedup + rand.Text())
	}
	if len(m.Attributes) > 0 {
		e.MessageAttributes = make(map[string]types.MessageAttributeValue, len(m.Attributes))
	}
	for name, value := range m.Attributes {
		e.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String(stringType), StringValue: aws.String(value)}
	}
	if header := telemetry.FormatXRay(spanOf(m.Attributes)); header != "" {
		e.MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{
			traceHeader: {DataType: aws.String(stringType), StringValue: aws.String(header)},
		}
	}
	return e
}

// spanOf is the span that the attributes name.
func spanOf(attributes map[string]string) trace.SpanContext {
	return trace.SpanContextFromContext(telemetry.Extract(context.Background(), attributes))
}

// size is what an entry counts in a batch.
func size(e types.SendMessageBatchRequestEntry) int {
	n := len(*e.MessageBody) + len(*e.MessageGroupId) + len(*e.MessageDeduplicationId)
	for name, value := range e.MessageAttributes {
		n += len(name) + len(stringType) + len(*value.StringValue)
	}
	return n
}

// raw is a message as SQS or an event of Lambda gives it.
type raw struct {
	id, handle, body string
	system           map[string]string
	attributes       map[string]rawAttribute
}

type rawAttribute struct{ kind, value string }

// rawOf reads what a receive gave.
func rawOf(m types.Message) raw {
	r := raw{
		id: aws.ToString(m.MessageId), handle: aws.ToString(m.ReceiptHandle), body: aws.ToString(m.Body),
		system: m.Attributes, attributes: make(map[string]rawAttribute, len(m.MessageAttributes)),
	}
	for name, value := range m.MessageAttributes {
		r.attributes[name] = rawAttribute{kind: aws.ToString(value.DataType), value: aws.ToString(value.StringValue)}
	}
	return r
}

// decode reads a message. On an error it has what could be trusted, and the body as it came, so that nothing is lost.
func decode(r raw) (queue.Message, error) {
	m := queue.Message{
		ID: r.id, Group: r.system[groupAttribute], DedupID: r.system[dedupAttribute], SentAt: millis(r.system[sentAttribute]),
	}
	if strings.HasPrefix(m.DedupID, ownDedup) {
		m.DedupID = ""
	}
	var damage error
	for name, a := range r.attributes {
		if a.kind != stringType && a.kind != "Number" && !strings.HasPrefix(a.kind, stringType+".") && !strings.HasPrefix(a.kind, "Number.") {
			damage = fault.New(fault.DataLoss, "read message: its attribute %s is of type %q, only text is understood", name, a.kind)
			continue
		}
		if m.Attributes == nil {
			m.Attributes = make(map[string]string, len(r.attributes))
		}
		m.Attributes[name] = a.value
	}
	if !spanOf(m.Attributes).IsValid() {
		resume(&m, r.system[traceHeader])
	}
	body, err := decodeBody(r.body)
	if err != nil {
		m.Body = []byte(r.body)
		return m, err
	}
	m.Body = body
	switch {
	case damage != nil:
	case r.id == "" || r.handle == "":
		damage = fault.New(fault.DataLoss, "read message: it has no id or no receipt")
	case m.Group == "":
		damage = fault.New(fault.DataLoss, "read message: it has no group")
	}
	return m, damage
}

// resume takes the trace from X-Ray's header, for a sender that set no traceparent, or one that names no span: a state machine
// that knows of no trace has to send one of zeros.
func resume(m *queue.Message, header string) {
	span, ok := telemetry.ParseXRay(header)
	if !ok {
		return
	}
	if m.Attributes == nil {
		m.Attributes = make(map[string]string, 1)
	}
	delete(m.Attributes, tracestate) // it belongs to what the header replaces
	telemetry.Inject(trace.ContextWithRemoteSpanContext(context.Background(), span), m.Attributes)
}
