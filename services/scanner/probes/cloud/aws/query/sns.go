package query

import "encoding/xml"

// SNS is docs.aws.amazon.com/sns/latest/api.
var SNS = Service{id: "SNS", agent: "sns", prefix: "sns", signing: "sns", version: "2010-03-31", token: "NextToken"}

// The calls of SNS, each in docs.aws.amazon.com/sns/latest/api as API_ and its name.
const (
	ListTopics         Operation[Topics]          = "ListTopics"
	GetTopicAttributes Operation[TopicAttributes] = "GetTopicAttributes"
)

// Topics is a page.
type Topics struct {
	snsToken

	Topics []Topic `xml:"Topics>member"`
}

// Topic is what messages are published to.
type Topic struct {
	TopicArn string `xml:"TopicArn"`
}

// TopicAttributes is an answer.
type TopicAttributes struct {
	Attributes Attributes `xml:"Attributes"`
}

// Attributes are settings by name.
type Attributes map[string]string

// UnmarshalXML reads <entry><key>, <value>; of a name that is there twice the later counts.
func (a *Attributes) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	var list struct {
		Entries []struct {
			Key   string `xml:"key"`
			Value string `xml:"value"`
		} `xml:"entry"`
	}
	if err := d.DecodeElement(&list, &start); err != nil {
		return err
	}
	if *a == nil {
		*a = Attributes{}
	}
	for _, e := range list.Entries {
		(*a)[e.Key] = e.Value
	}
	return nil
}
