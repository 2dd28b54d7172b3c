package s3blob

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/riskprofiler/riskprofiler/platform/blob"
)

// List implements [blob.Bucket]. S3 lists general purpose buckets in the byte order of the keys:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
func (b *Bucket) List(ctx context.Context, prefix, pageToken string, limit int) ([]blob.Object, string, error) {
	after, limit, err := blob.CheckList(prefix, pageToken, limit)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := &s3.ListObjectsV2Input{Bucket: &b.name, MaxKeys: aws.Int32(int32(limit))}
	if prefix != "" {
		in.Prefix = &prefix
	}
	if after != "" {
		in.StartAfter = &after
	}
	for {
		out, err := b.client.ListObjectsV2(ctx, in)
		if err != nil {
			return nil, "", b.fault(err, "list", prefix)
		}
		page := objects(out)
		switch {
		case !aws.ToBool(out.IsTruncated):
			return page, "", nil
		case len(page) > 0:
			return page, blob.PageToken(page[len(page)-1].Key), nil
		}
		in.ContinuationToken = out.NextContinuationToken // only what others stored: go on
	}
}

// objects are those that can have been put by us.
func objects(out *s3.ListObjectsV2Output) []blob.Object {
	found := make([]blob.Object, 0, len(out.Contents))
	for _, o := range out.Contents {
		if key := aws.ToString(o.Key); blob.CheckKey(key) == nil {
			found = append(found, blob.Object{Key: key, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified).UTC()})
		}
	}
	return found
}
