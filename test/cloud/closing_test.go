//go:build awstest

package cloud

import (
	"net/http"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// states are those of what was declared about some things.
func (w *world) states(when string, want correlatorv1.Finding_State, notRetested bool, about ...string) {
	w.t.Helper()
	byLine := map[string]*correlatorv1.Finding{}
	for _, f := range w.findings() {
		byLine[line(f.GetCheck(), f.GetAssetValue(), f.GetLocation())] = f
	}
	for _, a := range about {
		if len(w.truth[a]) == 0 {
			w.t.Errorf("nothing was declared about %s", a)
		}
		for _, l := range w.truth[a] {
			if f := byLine[l]; f.GetState() != want || f.GetNotRetested() != notRetested {
				w.t.Errorf("%s: %s is %s, not re-tested %v; want %s, %v", when, l, f.GetState(), f.GetNotRetested(), want, notRetested)
			}
		}
	}
}

// closeBucket takes the policy of a bucket away.
func (w *world) closeBucket(name string) {
	must(w, s3.NewFromConfig(w.config).DeleteBucketPolicy)(&s3.DeleteBucketPolicyInput{Bucket: sdk.String(name + "-of-" + w.account)})
}

// TestClosing: what was mended is closed by the next whole reading, whether the resource is safe now or gone. What the role may not read any
// more stays open, not tested again, while what it still reads is closed, whether it was made safe or is gone.
func TestClosing(t *testing.T) {
	w := newWorld(t, "950000000003")
	w.network()
	w.names()
	w.buckets()
	w.policies()
	w.start()
	w.compare("first", w.all(), w.assess(modelv1.Outcome_OUTCOME_COMPLETE).GetFindings())

	machines := ec2.NewFromConfig(w.config)
	for _, r := range must(w, machines.DescribeInstances)(&ec2.DescribeInstancesInput{}).Reservations {
		for _, tag := range r.Instances[0].Tags {
			if *tag.Value == "wide" {
				must(w, machines.TerminateInstances)(&ec2.TerminateInstancesInput{InstanceIds: []string{*r.Instances[0].InstanceId}})
			}
		}
	}
	w.change(r53types.ChangeActionDelete, "old", "A", "3.5.140.3")
	w.change(r53types.ChangeActionUpsert, "*.dev", "A", "198.51.100.8")
	w.closeBucket("assets")
	queues := sqs.NewFromConfig(w.config)
	orders := must(w, queues.GetQueueUrl)(&sqs.GetQueueUrlInput{QueueName: sdk.String("orders")}).QueueUrl
	must(w, queues.DeleteQueue)(&sqs.DeleteQueueInput{QueueUrl: orders})
	mended := []string{"wide", "record old", "record *.dev", "assets", "queue"}
	w.compare("mended", w.all(mended...), w.assess(modelv1.Outcome_OUTCOME_COMPLETE).GetFindings())
	w.states("mended", correlatorv1.Finding_STATE_RESOLVED, false, mended...)

	w.closeBucket("index")
	topics := sns.NewFromConfig(w.config)
	must(w, topics.DeleteTopic)(&sns.DeleteTopicInput{TopicArn: sdk.String(w.arn("sns", "news"))})
	secrets := secretsmanager.NewFromConfig(w.config)
	must(w, secrets.DeleteSecret)(&secretsmanager.DeleteSecretInput{SecretId: sdk.String("key"), ForceDeleteWithoutRecovery: sdk.Bool(true)})
	w.Refuse("sns ListTopics", http.StatusForbidden, "AccessDenied")
	w.Refuse("ec2 DescribeInstances", http.StatusForbidden, "UnauthorizedOperation")
	w.assess(modelv1.Outcome_OUTCOME_PARTIAL)
	w.states("a permission is gone", correlatorv1.Finding_STATE_OPEN, true, "topic", "old")
	w.states("a permission is gone", correlatorv1.Finding_STATE_OPEN, false, "drop", "account")
	w.states("a permission is gone", correlatorv1.Finding_STATE_RESOLVED, false, append(slices.Clone(mended), "index", "secret")...)

	w.Answer("sns ListTopics", nil)
	w.Answer("ec2 DescribeInstances", nil)
	w.compare("the permission is back", w.all(append(mended, "index", "secret", "topic")...), w.assess(modelv1.Outcome_OUTCOME_COMPLETE).GetFindings())
	w.states("the permission is back", correlatorv1.Finding_STATE_RESOLVED, false, "topic", "index", "secret")
}
