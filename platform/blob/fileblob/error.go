package fileblob

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// translate turns an error of the file system into a fault that says what to do.
func translate(err error, verb, key string) error {
	var known *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.CodeOf(err), err, "%s blob %s", verb, key)
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "%s blob %s: it does not exist", verb, key)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.ResourceExhausted, err, "%s blob %s: the disk is full, free some space", verb, key)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.Wrap(fault.FailedPrecondition, err, "%s blob %s: the folder must be readable and writable for this user and must allow hard links", verb, key)
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EMLINK):
		return fault.Wrap(fault.FailedPrecondition, err, "%s blob %s: the folder must be on a file system with hard links", verb, key)
	case errors.Is(err, fs.ErrClosed):
		return fault.Wrap(fault.FailedPrecondition, err, "%s blob %s: the bucket is closed", verb, key)
	default:
		return fault.Wrap(fault.Internal, err, "%s blob %s", verb, key)
	}
}
