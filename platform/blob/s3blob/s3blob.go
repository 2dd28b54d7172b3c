// Package s3blob keeps objects in Amazon S3: the driver of package blob for AWS. One bucket of package blob is one bucket of S3, named
// by the location's prefix and suffix.
//
// An object is created by one PutObject with "If-None-Match: *", so S3 itself refuses to overwrite, and with its SHA-256, so S3
// refuses bytes that changed on the way and keeps the hash beside the object; a read compares it. What encrypts an object, who may read
// the bucket and when old objects go is the deployment's: the bucket's defaults hold.
//
// It refuses objects above blob.MaxObjectBytes also when somebody else stored them, and makes no network call before the first use
// of a bucket. A role that may not list a bucket (s3:ListBucket) is told 403 instead of 404 for what is absent, by S3's design:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
package s3blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// attemptTimeout bounds one HTTP request: blob.MaxObjectBytes at 1 MB/s.
	attemptTimeout = 70 * time.Second
	// callTimeout bounds one call with all its requests, where the caller's context has no earlier end.
	callTimeout = 5 * time.Minute
	// maxReads is how often an object is read whose connection breaks on the way: the SDK sends again only what had no answer at all.
	maxReads = 3
)

// errGone says that an object went away between two requests.
var errGone = errors.New("the object was deleted meanwhile")

// Store is a place where buckets are. It is safe for concurrent use.
type Store struct {
	client   *s3.Client
	location awsclient.Location
}

// Open makes the client. It calls nothing.
func Open(cfg aws.Config, l awsclient.Location) *Store {
	return &Store{location: l, client: s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint = l.EndpointOf("s3")
		// A bucket is no subdomain of what stands in for S3.
		o.UsePathStyle = o.BaseEndpoint != nil
		o.HTTPClient = awsclient.Bounded(o.HTTPClient, attemptTimeout)
		o.Logger = logging.Nop{} // its lines are not those of our log; what fails comes back as an error
		// 409: another conditional write of the same key was in progress
		// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
		o.Retryer = awsclient.NewRetryer(retry.RetryableErrorCode{Codes: map[string]struct{}{
			"ConditionalRequestConflict": {}, "OperationAborted": {},
		}})
	})}
}

// Client is the client of the buckets, for [Create].
func (s *Store) Client() *s3.Client { return s.client }

// Bucket is the driver for one bucket. Whether it is there shows at its first use.
func (s *Store) Bucket(name string) *Bucket {
	return &Bucket{client: s.client, name: s.location.Bucket(name), region: s.location.Region}
}

// Bucket keeps objects in a bucket of S3. It implements [blob.Bucket].
type Bucket struct {
	client *s3.Client
	name   string // the full name
	region string
}

var _ blob.Bucket = (*Bucket)(nil)

// Put implements [blob.Bucket].
func (b *Bucket) Put(ctx context.Context, key string, data []byte) error {
	if err := blob.CheckPut(key, len(data)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sum := sha256.Sum256(data)
	hash := base64.StdEncoding.EncodeToString(sum[:])
	for {
		_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.name, Key: &key, Body: bytes.NewReader(data), ContentLength: aws.Int64(int64(len(data))),
			IfNoneMatch: aws.String("*"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: &hash,
		})
		if err == nil {
			return nil
		}
		if !isStatus(err, http.StatusPreconditionFailed) {
			return b.fault(err, "put", key)
		}
		// Also after an answer was lost: then it is ours.
		if err := b.compare(ctx, key, data, hash); !errors.Is(err, errGone) {
			return err
		}
	}
}

// compare decides about a put on a key that is taken.
func (b *Bucket) compare(ctx context.Context, key string, data []byte, hash string) error {
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	switch {
	case isStatus(err, http.StatusNotFound):
		return errGone
	case err != nil:
		return b.fault(err, "compare", key)
	case aws.ToInt64(head.ContentLength) != int64(len(data)):
		return errOther(key)
	case head.ChecksumSHA256 != nil && *head.ChecksumSHA256 == hash:
		return nil
	case head.ChecksumSHA256 != nil:
		return errOther(key)
	}
	// Stored by somebody who sent no checksum.
	stored, err := b.read(ctx, key)
	switch {
	case errors.Is(err, fault.NotFound):
		return errGone
	case err != nil:
		return err
	case !bytes.Equal(stored, data):
		return errOther(key)
	}
	return nil
}

func errOther(key string) error {
	return fault.New(fault.AlreadyExists, "put blob %s: the stored object has other content", key)
}

// Get implements [blob.Bucket].
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, err := b.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := blob.Verify(key, data); err != nil {
		return nil, err
	}
	return data, nil
}

// read reads an object of at most the allowed size: the bucket may hold what others put there.
func (b *Bucket) read(ctx context.Context, key string) (data []byte, err error) {
	for range maxReads {
		out, getErr := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if isStatus(getErr, http.StatusNotFound) && awsclient.Code(getErr) == "NoSuchKey" {
			return nil, fault.New(fault.NotFound, "get blob %s: it does not exist", key)
		}
		if getErr != nil {
			return nil, b.fault(getErr, "get", key)
		}
		if data, err = body(out, key); err == nil || ctx.Err() != nil || errors.Is(err, fault.DataLoss) {
			break
		}
	}
	return data, b.fault(err, "get", key)
}

// body reads an answer to its end, where the SDK compares the checksum.
func body(out *s3.GetObjectOutput, key string) ([]byte, error) {
	defer func() { _ = out.Body.Close() }() // it was only read
	size := aws.ToInt64(out.ContentLength)
	if size > blob.MaxObjectBytes {
		return nil, fault.New(fault.DataLoss, "get blob %s: the object has %d bytes, more than any that was put", key, size)
	}
	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	n, err := data.ReadFrom(io.LimitReader(out.Body, blob.MaxObjectBytes+1))
	switch {
	case n > blob.MaxObjectBytes:
		return nil, fault.New(fault.DataLoss, "get blob %s: the object has more than %d bytes, more than any that was put", key, blob.MaxObjectBytes)
	case isChecksum(err):
		return nil, fault.Wrap(fault.DataLoss, err, "get blob %s: the object was damaged", key)
	}
	return data.Bytes(), err
}

// Delete implements [blob.Bucket]. In a bucket with versions it leaves a mark, which later puts do not mind.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
	return b.fault(err, "delete", key)
}

// SignedURL implements [blob.Bucket]. Signed by the credentials of a role, the link ends with their session, which may be before ttl:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html
func (b *Bucket) SignedURL(ctx context.Context, key string, ttl time.Duration) (string, error) {
	if err := blob.CheckKey(key); err != nil {
		return "", err
	}
	if err := blob.CheckSignedTTL(ttl); err != nil {
		return "", err
	}
	signed, err := s3.NewPresignClient(b.client, s3.WithPresignExpires(ttl)).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return "", b.fault(err, "sign link to", key)
	}
	return signed.URL, nil
}

// fault turns an error of the SDK into one line that names the bucket and the remedy.
func (b *Bucket) fault(err error, verb, key string) error {
	return awsclient.Fault(err, verb+" blob "+key, awsclient.Resource{Kind: "bucket", Name: b.name, Region: b.region})
}

func isStatus(err error, status int) bool {
	var response *awshttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == status
}
