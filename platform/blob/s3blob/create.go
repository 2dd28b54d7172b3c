package s3blob

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
)

// classicRegion is the one that must not be named when a bucket is made:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
const classicRegion = "us-east-1"

// Create makes a bucket of that full name, for tests and stand-ins: on AWS the deployment does it, with encryption, access rules and
// lifecycle besides. A bucket that is ours already is success.
func Create(ctx context.Context, client *s3.Client, name string) error {
	in := &s3.CreateBucketInput{Bucket: &name}
	region := client.Options().Region
	if region != classicRegion {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	_, err := client.CreateBucket(ctx, in)
	var ours *types.BucketAlreadyOwnedByYou
	if errors.As(err, &ours) {
		return nil
	}
	return awsclient.Fault(err, "create bucket", awsclient.Resource{Kind: "bucket", Name: name, Region: region})
}

// isChecksum says that what was read has another checksum than what was stored. The SDK has no type for it.
func isChecksum(err error) bool {
	return err != nil && strings.Contains(err.Error(), "checksum did not match")
}
