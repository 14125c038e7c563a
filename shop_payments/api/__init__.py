"""The REST API: authentication, errors, serializers, viewsets, urls."""
